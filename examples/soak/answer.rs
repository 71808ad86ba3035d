//! The accepting side of a transfer.

use crate::pattern;
use crate::transfer::{Manner, RESET, Transfer, receive, receive_reset, send, unless_reset};
use crate::trouble::{GIVEN_UP, Trouble, within};
use sluicegate::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Carries out the transfer that the first bytes announce; returns which it was, as far as that is known.
pub(crate) async fn answer(mut stream: Stream) -> (Option<Transfer>, Result<(), Trouble>) {
    let mut header = [0; Transfer::HEADER];
    if let Err(trouble) = within("to read the first bytes", stream.read_exact(&mut header)).await {
        // A stream that is reset early may have carried no bytes.
        return (None, unless_reset(trouble, RESET));
    }
    match Transfer::parse(&header) {
        Ok(transfer) => {
            let result = play(&mut stream, transfer).await;
            if result.is_err() {
                stream.reset(GIVEN_UP);
            }
            (Some(transfer), result)
        }
        Err(trouble) => (None, Err(trouble)),
    }
}

async fn play(stream: &mut Stream, transfer: Transfer) -> Result<(), Trouble> {
    let Transfer { number, manner, out, back, .. } = transfer;
    match manner {
        Manner::Whole => {
            let (mut read, mut write) = tokio::io::split(stream);
            let answer = async {
                send(&mut write, transfer.answer(), back).await?;
                within("to finish a stream", write.shutdown()).await
            };
            tokio::try_join!(receive(&mut read, number, out), answer).map(|_| ())
        }
        Manner::ResetByOpener => receive_reset(stream, number, out / 2).await,
        Manner::ResetByAcceptor => {
            let mut half = vec![0; usize::try_from(out / 2).unwrap_or_default()];
            within("to read a half", stream.read_exact(&mut half)).await?;
            stream.reset(RESET);
            match pattern::right(number, 0, &half) {
                right if right == half.len() => Ok(()),
                right => Err(Trouble::wrong(format!("byte {right} of {out} is wrong"))),
            }
        }
        Manner::DroppedByOpener => receive(stream, number, out).await,
        Manner::DroppedByAcceptor => Ok(()),
    }
}
