//! Owns [`FreeList`]: values that are kept to be used again, since they come and go with every message and each would be
//! an allocation.
//!
//! It bounds how many values are kept. Their owner bounds the storage of each one, which is charged to a reservation of
//! that owner. Never clears a value, and never creates one.

/// The free list of one kind of value.
#[derive(Debug)]
pub(crate) struct FreeList<T> {
    items: Vec<T>,
}

impl<T> Default for FreeList<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<T> FreeList<T> {
    pub(crate) const fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        self.items.pop()
    }

    /// Keeps a value, or drops it where there are `most` already.
    pub(crate) fn put(&mut self, item: T, most: usize) {
        if self.items.len() < most {
            self.items.push(item);
        }
    }

    /// Drops values until there are `most`, and storage for many more than these.
    pub(in crate::proto) fn shrink(&mut self, most: usize) {
        self.items.truncate(most);
        if self.items.capacity() > most.saturating_mul(4) {
            self.items.shrink_to(most.saturating_mul(2));
        }
    }

    /// Drops all values and their storage.
    pub(crate) fn clear(&mut self) {
        self.items = Vec::new();
    }

    /// The values that are kept.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }

    #[cfg(test)]
    pub(in crate::proto) const fn capacity(&self) -> usize {
        self.items.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_is_kept() {
        let mut list = FreeList::default();
        (0..10).for_each(|item| list.put(item, 4));
        assert_eq!((list.len(), list.take()), (4, Some(3)));
        list.shrink(2);
        assert_eq!((list.take(), list.take(), list.take()), (Some(1), Some(0), None));
        list.shrink(0);
        assert_eq!(list.capacity(), 0);
    }
}
