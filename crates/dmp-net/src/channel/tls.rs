//! DNS over TLS (RFC 7858): messages of any number of queries on one connection, answered in any order (RFC 7766 6.2.1.1).

use std::collections::HashMap;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::client::TlsStream;

use crate::exchange::ExchangeError;
use crate::limits;

/// An open connection. It closes when the last clone is gone.
#[derive(Clone, Debug)]
pub(super) struct Link {
    questions: mpsc::Sender<Question>,
}

#[derive(Debug)]
struct Question {
    message: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

impl Link {
    /// Takes a connection over.
    pub(super) fn over(stream: TlsStream<TcpStream>) -> Self {
        let (questions, asked) = mpsc::channel(limits::PIPELINE);
        tokio::spawn(serve(stream, asked));
        Self { questions }
    }

    /// The answer to one message, whose id is chosen here.
    pub(super) async fn exchange(&self, request: &[u8]) -> Result<Vec<u8>, ExchangeError> {
        let closed = || io::Error::from(io::ErrorKind::ConnectionReset);
        let (answer, answered) = oneshot::channel();
        let message = request.to_vec();
        let question = Question { message, answer };
        let sent = self.questions.send(question).await;
        sent.map_err(|_| closed())?;
        Ok(answered.await.map_err(|_| closed())?)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.questions.is_closed()
    }
}

/// Writes questions and hands answers out until either side closes or the stream makes no sense; whoever waits then is told by
/// the end of the channel.
async fn serve(mut stream: TlsStream<TcpStream>, mut asked: mpsc::Receiver<Question>) {
    let mut waiting = Waiting::default();
    let mut received = Vec::with_capacity(dmp_dns::limits::UDP);
    loop {
        tokio::select! {
            question = asked.recv() => {
                let Some(question) = question else { break };
                let Some(framed) = waiting.add(question) else { continue };
                if stream.write_all(&framed).await.is_err() || stream.flush().await.is_err() {
                    break;
                }
            }
            read = stream.read_buf(&mut received) => {
                if !matches!(read, Ok(octets) if octets > 0) {
                    break;
                }
                while let Some(message) = next_message(&mut received) {
                    waiting.answer(message);
                }
            }
        }
    }
    // The peer may be gone already.
    let _ = stream.shutdown().await;
}

/// The questions without an answer, by the id that they went out with.
#[derive(Default)]
struct Waiting {
    next_id: u16,
    answers: HashMap<u16, oneshot::Sender<Vec<u8>>>,
}

impl Waiting {
    /// The question as it goes out; `None` if nobody waits for its answer any more.
    fn add(&mut self, question: Question) -> Option<Vec<u8>> {
        self.answers.retain(|_, answer| !answer.is_closed());
        let Question {
            mut message,
            answer,
        } = question;
        if answer.is_closed() {
            return None;
        }
        // There are far fewer questions than ids.
        while self.answers.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        message.get_mut(..2)?.copy_from_slice(&id.to_be_bytes());
        let length = u16::try_from(message.len()).ok()?;
        self.answers.insert(id, answer);
        Some([&length.to_be_bytes()[..], &message].concat())
    }

    fn answer(&mut self, message: Vec<u8>) {
        let id = message.first_chunk().copied().map(u16::from_be_bytes);
        if let Some(answer) = id.and_then(|id| self.answers.remove(&id)) {
            // Whoever asked may have given up.
            let _ = answer.send(message);
        }
    }
}

/// Takes one whole message from what was received (RFC 1035 4.2.2).
fn next_message(received: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes(*received.first_chunk()?));
    let message = received.get(2..2 + length)?.to_vec();
    received.drain(..2 + length);
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_whole_however_they_arrive() {
        let mut received = vec![0, 2];
        assert_eq!(next_message(&mut received), None);
        received.extend([7, 8, 0, 1, 9, 0]);
        assert_eq!(next_message(&mut received), Some(vec![7, 8]));
        assert_eq!(next_message(&mut received), Some(vec![9]));
        assert_eq!(next_message(&mut received), None);
        assert_eq!(received, [0]);
    }

    #[test]
    fn no_two_questions_that_wait_have_one_id_and_strays_are_dropped() {
        let mut waiting = Waiting::default();
        let ask = |waiting: &mut Waiting| {
            let (answer, answered) = oneshot::channel();
            let message = vec![0; 12];
            let framed = waiting.add(Question { message, answer }).unwrap();
            (u16::from_be_bytes([framed[2], framed[3]]), answered)
        };
        let (first, mut first_answer) = ask(&mut waiting);
        waiting.next_id = first;
        let (second, mut second_answer) = ask(&mut waiting);
        assert_ne!(first, second);
        waiting.answer([&second.to_be_bytes()[..], &[5; 10]].concat());
        waiting.answer([&second.to_be_bytes()[..], &[6; 10]].concat());
        waiting.answer(vec![1]);
        assert_eq!(second_answer.try_recv().unwrap()[2], 5);
        assert!(first_answer.try_recv().is_err());
    }
}
