//! Load: sending it, counting it, or both at once. The receiver measures, between the end of the warm-up and the
//! end of the window, and then tells the sender that it has enough.

mod receiver;
mod sender;

use std::time::Duration;

use serde_json::{Value, json};

use self::{
    receiver::Receiver,
    sender::{Pace, Sender},
};
use super::{RoleError, strays};
use crate::loadgen::{
    frame::{Kind, Message},
    link::LinkError,
    script::{Blast, Sink, Window},
    station::Station,
};

/// How much longer than its window a sender goes on when nobody says enough.
const OVERTIME: Duration = Duration::from_secs(5);
/// How often to say what may have been lost, and to look at the clock.
const NAG: Duration = Duration::from_millis(50);

/// Meets the peers, sends and counts as told, publishes.
pub fn run(
    station: &mut Station,
    send: Option<&Blast>,
    receive: Option<Sink>,
    window: Window,
    patience: Duration,
    publish: &mut dyn FnMut(Value),
) -> Result<(), RoleError> {
    if send.is_some_and(|blast| blast.segment.is_some()) {
        station.link.takes_segments()?;
    }
    station.check_all = receive.is_some_and(|sink| sink.check_all);
    let mut receiver = receive.map(|sink| Receiver::new(sink.from, window, station.now() + patience));
    let mut news = News::default();
    if let Some(blast) = send {
        let missing = station.meet(blast.to, patience, |now, message, len| match &mut receiver {
            Some(receiver) => receiver.take(now, message, len, &mut news),
            None => news.note(message),
        })?;
        if !missing.is_empty() {
            return Err(RoleError::NobodyThere(missing.into_iter().collect(), patience));
        }
    }
    let mut sender = send.map(|blast| Sender::new(station, blast, window));
    let end = go(station, sender.as_mut(), receiver.as_mut());
    let closed = match end {
        Ok(()) => false,
        Err(LinkError::Closed) => true,
        Err(error) => return Err(error.into()),
    };
    let mut result = json!({"closed": closed, "strays": strays(station)});
    if let Some(sender) = &sender {
        result["sent"] = sender.result();
    }
    if let Some(receiver) = &receiver {
        result["received"] = receiver.result();
    }
    publish(result);
    match &receiver {
        Some(receiver) if receiver.measured().is_none() => Err(RoleError::NothingCame(patience)),
        _ => Ok(()),
    }
}

fn go(
    station: &mut Station,
    mut sender: Option<&mut Sender>,
    mut receiver: Option<&mut Receiver>,
) -> Result<(), LinkError> {
    loop {
        let mut news = News::default();
        let came = match &mut receiver {
            Some(receiver) => {
                let now = station.now();
                let came = station.receive(|message, len| receiver.take(now, message, len, &mut news))?;
                receiver.turn(station);
                came
            }
            None => station.receive(|message, _| news.note(message))?,
        };
        let mut sent = Pace::Idle;
        if let Some(sender) = &mut sender {
            sender.hear(&news, station.now());
            sent = sender.turn(station)?;
        }
        let sender_done = sender.as_ref().is_none_or(|sender| sender.done());
        if station.stop.raised() || (sender_done && receiver.as_ref().is_none_or(|receiver| receiver.done)) {
            station.link.flush()?;
            return Ok(());
        }
        match sent {
            Pace::Sent => {}
            _ if came > 0 => {
                if sent == Pace::Idle {
                    station.link.flush()?;
                }
            }
            Pace::NoRoom => station.link.wait(&station.stop, true, Some(NAG))?,
            Pace::Later(wait) => station.link.wait(&station.stop, false, Some(wait.min(NAG)))?,
            Pace::Idle => station.attend(Some(NAG))?,
        }
    }
}

/// What the peers said about a sender's load.
#[derive(Debug, Default)]
struct News {
    enough: Vec<u32>,
}

impl News {
    fn note(&mut self, message: Message) {
        if message.kind == Kind::Enough {
            self.enough.push(message.origin);
        }
    }
}
