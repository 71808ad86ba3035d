//! Owns [`Filter`]: the extreme of a figure over the present and the last period. Uses nothing.

/// The extreme of the samples of two periods. The kind of extreme is that of the samples' order: [`Filter::most`] and
/// [`Filter::least`] are never mixed.
#[derive(Clone, Copy, Debug)]
pub(in crate::proto) struct Filter<T> {
    current: Option<T>,
    previous: Option<T>,
}

impl<T: Copy + Ord> Filter<T> {
    pub(in crate::proto) const fn new() -> Self {
        Self { current: None, previous: None }
    }

    /// A sample, of which the largest count.
    pub(in crate::proto) fn most(&mut self, sample: T) {
        self.current = self.current.max(Some(sample));
    }

    /// A sample, of which the least count.
    pub(in crate::proto) fn least(&mut self, sample: T) {
        self.current = Some(self.current.map_or(sample, |least| least.min(sample)));
    }

    pub(in crate::proto) fn largest(&self) -> Option<T> {
        self.current.max(self.previous)
    }

    pub(in crate::proto) fn smallest(&self) -> Option<T> {
        self.current.into_iter().chain(self.previous).min()
    }

    /// The period is over. Without a sample in it, the one before still counts.
    pub(in crate::proto) fn next_period(&mut self) {
        if let Some(current) = self.current.take() {
            self.previous = Some(current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    #[test]
    fn the_extreme_of_two_periods_counts() {
        let mut filter = Filter::new();
        assert_eq!((filter.largest(), filter.smallest()), (None, None));
        [3, 7, 5].into_iter().for_each(|sample| filter.most(sample));
        filter.next_period();
        filter.most(4);
        assert_eq!(filter.largest(), Some(7));
        filter.next_period();
        // A period without samples forgets nothing.
        filter.next_period();
        assert_eq!(filter.largest(), Some(4));
        let mut filter = Filter::new();
        [5, 3, 7].into_iter().for_each(|sample| filter.least(sample));
        filter.next_period();
        filter.least(6);
        assert_eq!(filter.smallest(), Some(3));
    }
}
