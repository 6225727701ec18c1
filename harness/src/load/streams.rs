//! How is a share of the plan driven over HTTP/2? A runtime on one core, under the same ledger; its clock is a kernel timer.
//!
//! Requests of one connection overlap, so that reading and writing are a protocol of their own: the library's tasks do
//! both, and the loop decides when and what. The runtime's timer wheel is used for opening connections only.

mod exchange;
mod mould;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, LocalSet, spawn_local};

pub(super) use self::exchange::{Broken, open, receive};
use self::exchange::{Opened, Whole, kind, turned_away};
use self::mould::Mould;
use super::LoadError;
use super::flight::{Arrival, Flight, LIMITS};
use super::ledger::{Choice, Ledger};
use super::recorder::Failure;
use super::shared::{Done, Failed, Shared, thread_cpu};
use crate::clock;
use crate::scenario::Idle;
use crate::units::Nanos;
use crate::wire::WireError;

/// Due arrivals sent before replies are looked at again.
const BURST: usize = 32;
/// How often a request is sent again that a server says it did not look at, which is safe for every method (RFC 9113
/// section 8.7); connections that are recycled together can turn it away more than once.
const MOST_AGAIN: u8 = 8;

/// Drives until the stop rule says so, and hands back what was seen.
pub(super) fn run(mut ledger: Ledger<'_>, connections: usize) -> Result<Done, Failed> {
    let machine = |e: std::io::Error| LoadError::Machine(format!("a runtime: {e}"));
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(machine);
    match made {
        Ok(runtime) => LocalSet::new().block_on(&runtime, Driver::new(ledger, connections).drive()),
        Err(error) => {
            let error = ledger.begin(Err(error)).err();
            Err(ledger.give_up(error.unwrap_or(LoadError::Internal("a loop without a runtime".into()))))
        }
    }
}

/// A timer of the kernel, exact to the nanosecond as far as the machine is.
struct Alarm(AsyncFd<rustix::fd::OwnedFd>);

impl Alarm {
    fn new() -> Result<Alarm, LoadError> {
        let failed = |e: std::io::Error| LoadError::Machine(format!("a kernel timer: {e}"));
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(|e| failed(e.into()))?;
        #[expect(deprecated, reason = "its successor is unsafe, and promises what an owned descriptor gives anyway")]
        let watched = AsyncFd::new(fd);
        Ok(Alarm(watched.map_err(failed)?))
    }

    /// Rings once after this time; an earlier setting is forgotten.
    fn set(&self, after: Nanos) {
        let after = after.0.max(1);
        let once = Timespec { tv_sec: (after / 1_000_000_000) as i64, tv_nsec: (after % 1_000_000_000) as i64 };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let setting = Itimerspec { it_interval: never, it_value: once };
        // The arguments are in range, so that setting cannot fail; if it did, the loop would poll.
        let _ = timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &setting);
    }

    async fn rings(&self) {
        while let Ok(mut ready) = self.0.readable().await {
            let mut times = [0; 8];
            match rustix::io::read(self.0.get_ref(), &mut times) {
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                _ => {
                    ready.clear_ready();
                    return;
                }
            }
        }
    }
}

/// What tasks tell the loop.
enum News {
    /// A stream has ended.
    Ended { slot: usize, generation: u32, result: Result<Whole, Broken> },
    /// A connection stands, or does not.
    Opened { line: usize, result: Result<Opened, WireError> },
}

#[derive(Default)]
struct Inbox {
    news: RefCell<VecDeque<News>>,
    bell: Notify,
}

impl Inbox {
    fn put(&self, news: News) {
        self.news.borrow_mut().push_back(news);
        self.bell.notify_one();
    }
    fn take(&self) -> Option<News> {
        self.news.borrow_mut().pop_front()
    }
}

/// One connection.
#[derive(Default)]
struct Line {
    sender: Option<SendRequest<Bytes>>,
    opening: bool,
    /// Streams on their way.
    busy: u32,
    /// Raised with every connection, so that the end of an old one is told from that of the new.
    generation: u32,
    /// What opening it took, for the first request that waited for it.
    fresh: Option<(Nanos, Option<Nanos>)>,
    /// Why it could not be opened.
    failed: Option<WireError>,
}

/// One stream on its way.
#[derive(Default)]
struct Slot {
    flight: Option<Flight>,
    task: Option<AbortHandle>,
    /// When the head of its reply was here; zero before.
    head: Rc<Cell<Nanos>>,
    line: usize,
    line_generation: u32,
    generation: u32,
}

struct Driver<'a> {
    shared: &'a Shared<'a>,
    ledger: Ledger<'a>,
    inbox: Rc<Inbox>,
    lines: Vec<Line>,
    next_line: usize,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Streams in the order in which they were sent; all have the same patience.
    deadlines: VecDeque<(usize, u32, Nanos)>,
    /// Requests that a server turned away unread; they are sent once more.
    again: VecDeque<Flight>,
    out: Vec<u8>,
    /// By script.
    moulds: Vec<Mould>,
    /// `https://host:port`, before every path.
    origin: String,
}

impl<'a> Driver<'a> {
    fn new(ledger: Ledger<'a>, connections: usize) -> Driver<'a> {
        let shared = ledger.shared;
        let slots = connections * shared.streams as usize;
        let scheme = if shared.tls.is_some() { "https" } else { "http" };
        let authority = shared.target.map_or_else(|| shared.addr.to_string(), |t| t.endpoint.authority());
        Driver {
            shared,
            ledger,
            inbox: Rc::default(),
            lines: (0..connections).map(|_| Line::default()).collect(),
            next_line: 0,
            slots: (0..slots).map(|_| Slot::default()).collect(),
            free: (0..slots).rev().collect(),
            deadlines: VecDeque::new(),
            again: VecDeque::new(),
            out: Vec::new(),
            moulds: shared.scripts.iter().map(|_| Mould::default()).collect(),
            origin: format!("{scheme}://{authority}"),
        }
    }

    async fn drive(mut self) -> Result<Done, Failed> {
        let opened = self.open_all().await;
        let alarm = match self.ledger.begin(opened).and_then(|()| Alarm::new()) {
            Ok(alarm) => alarm,
            Err(error) => return Err(self.ledger.give_up(error)),
        };
        let mut cpu_at_recording = None;
        loop {
            let turn = clock::mono();
            if cpu_at_recording.is_none() && turn >= self.ledger.recording {
                cpu_at_recording = Some(thread_cpu());
            }
            if turn >= self.ledger.next_tick {
                self.ledger.tick(turn);
            }
            if turn >= self.ledger.next_second && turn < self.ledger.ends {
                self.ledger.hand_over(turn);
            }
            let mut worked = false;
            while let Some(news) = self.inbox.take() {
                self.hear(news);
                worked = true;
            }
            if turn < self.ledger.ends {
                worked |= self.release(turn);
            } else if self.ledger.in_flight == 0 || turn >= self.ledger.drained {
                break;
            }
            self.time_out(turn);
            let now = clock::mono();
            let mut until = self.ledger.next_event(now);
            if let Some((_, _, wire)) = self.deadlines.front() {
                until = until.min(*wire + self.shared.timeout);
            }
            let left = until.since(now);
            let awake = self.shared.idle == Idle::Poll && (self.ledger.in_flight > 0 || left <= self.shared.overshoot);
            if awake || left.0 == 0 || worked {
                // The library's tasks read and write now.
                tokio::task::yield_now().await;
                if worked && awake && turn >= self.ledger.recording {
                    self.ledger.done.busy = self.ledger.done.busy + clock::mono().since(turn);
                }
                continue;
            }
            let early = if self.shared.idle == Idle::Poll { self.shared.overshoot } else { Nanos(0) };
            alarm.set(left.since(early));
            tokio::select! {
                () = alarm.rings() => {}
                () = self.inbox.bell.notified() => {}
            }
        }
        let cpu = thread_cpu();
        self.ledger.done.cpu = cpu.since(cpu_at_recording.unwrap_or(cpu));
        if self.shared.idle == Idle::Sleep {
            // A loop that sleeps works whenever it is on the processor.
            self.ledger.done.busy = cpu.since(cpu_at_recording.unwrap_or(cpu));
        }
        let flying: Vec<Flight> = self.slots.iter().filter_map(|slot| slot.flight).chain(self.again).collect();
        Ok(self.ledger.close(&flying))
    }

    async fn open_all(&mut self) -> Result<(), LoadError> {
        for line in 0..self.lines.len() {
            let opened = open(self.shared.addr, self.shared.tls.clone(), self.shared.timeout.duration()).await?;
            self.opened(line, Ok(opened));
            if self.shared.cancel.load(Ordering::Relaxed) {
                return Err(LoadError::Cancelled);
            }
        }
        self.lines.iter_mut().for_each(|line| line.fresh = None);
        Ok(())
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Opened { line, result } => self.opened(line, result),
            News::Ended { slot, generation, result } => {
                if self.slots[slot].generation == generation {
                    self.ended(slot, result);
                }
            }
        }
    }

    fn opened(&mut self, at: usize, result: Result<Opened, WireError>) {
        let line = &mut self.lines[at];
        line.opening = false;
        line.busy = 0;
        line.generation = line.generation.wrapping_add(1);
        match result {
            Ok(opened) => {
                line.sender = Some(opened.sender);
                line.fresh = Some((opened.connect, opened.tls));
            }
            Err(error) => line.failed = Some(error),
        }
    }

    /// A connection with room for a stream; one that is gone begins to be opened again.
    fn line(&mut self) -> Option<usize> {
        for step in 0..self.lines.len() {
            let at = (self.next_line + step) % self.lines.len();
            let line = &mut self.lines[at];
            match &line.sender {
                Some(sender) => {
                    let most =
                        self.shared.streams.min(u32::try_from(sender.current_max_send_streams()).unwrap_or(u32::MAX));
                    if line.busy < most {
                        self.next_line = at + 1;
                        return Some(at);
                    }
                }
                // A failure to open is the next request's; after it we try again.
                None if line.failed.is_some() => {
                    self.next_line = at + 1;
                    return Some(at);
                }
                None if !line.opening => {
                    line.opening = true;
                    let (inbox, addr, tls) = (Rc::clone(&self.inbox), self.shared.addr, self.shared.tls.clone());
                    let patience = self.shared.timeout.duration();
                    self.ledger.done.opened += u64::from(clock::mono() >= self.ledger.recording);
                    spawn_local(async move {
                        let result = open(addr, tls, patience).await;
                        inbox.put(News::Opened { line: at, result });
                    });
                }
                None => {}
            }
        }
        None
    }

    /// Sends what is due. Says whether anything was.
    fn release(&mut self, now: Nanos) -> bool {
        for sent in 0..BURST {
            // A line that is gone is opened again for somebody only.
            if self.again.is_empty() && !self.ledger.is_due(now) {
                return sent > 0;
            }
            let line = if self.free.is_empty() { None } else { self.line() };
            // Those that were turned away go first. What is due meanwhile queues: it waits for the server, not for us.
            if let Some(line) = line
                && let Some(flight) = self.again.pop_front()
            {
                let Some(slot) = self.free.pop() else { return sent > 0 };
                self.send(slot, line, flight);
                continue;
            }
            let Some((arrival, choice)) = self.ledger.ready(now, line.is_some()) else { return sent > 0 };
            if let Some(line) = line {
                self.dispatch(line, arrival, &choice);
            }
        }
        true
    }

    /// Sends an arrival on a stream of a line.
    fn dispatch(&mut self, line: usize, arrival: Arrival, choice: &Choice) {
        let Some(slot) = self.free.pop() else { return };
        self.ledger.in_flight += 1;
        let wire = clock::mono();
        self.ledger.sent(&arrival, wire);
        let flight = Flight {
            arrival,
            wire,
            first_byte: Nanos(0),
            session: choice.session,
            spoil: choice.spoil,
            expired: choice.expired,
            expires: choice.expires,
            ended: choice.ended,
            doomed: choice.doomed,
            again: 0,
            connect: None,
            tls: None,
        };
        self.send(slot, line, flight);
    }

    fn send(&mut self, at: usize, line_at: usize, mut flight: Flight) {
        let line = &mut self.lines[line_at];
        if let Some((connect, tls)) = line.fresh.take() {
            (flight.connect, flight.tls) = (Some(connect), tls);
        }
        let slot = &mut self.slots[at];
        slot.generation = slot.generation.wrapping_add(1);
        (slot.line, slot.line_generation) = (line_at, line.generation);
        slot.flight = Some(flight);
        slot.task = None;
        slot.head = Rc::new(Cell::new(Nanos(0)));
        // What is sent again keeps its deadline, and its place among the others.
        let place = match flight.again {
            0 => self.deadlines.len(),
            _ => self.deadlines.partition_point(|(_, _, wire)| *wire <= flight.wire),
        };
        self.deadlines.insert(place, (at, slot.generation, flight.wire));
        if let Some(error) = line.failed.take() {
            return self.fail(at, Failure::Wire(error.kind()), &error);
        }
        line.busy += 1;
        let choice = Choice {
            session: flight.session,
            spoil: flight.spoil,
            expired: flight.expired,
            expires: flight.expires,
            ended: flight.ended,
            doomed: flight.doomed,
        };
        if let Err(error) = self.ledger.assemble(&flight.arrival, &choice, &mut self.out) {
            return self.fail(at, Failure::NoToken, &error);
        }
        let mould = &mut self.moulds[usize::from(flight.arrival.operation)];
        let request = match mould.message(&self.out, &self.origin) {
            Ok(request) => request,
            Err(error) => return self.fail(at, Failure::Wire("protocol"), &error),
        };
        let (parts, body) = request.into_parts();
        let Some(sender) = &mut self.lines[line_at].sender else { return };
        let sent =
            sender.send_request(Request::from_parts(parts, ()), body.is_empty()).and_then(|(reply, mut stream)| {
                if !body.is_empty() {
                    stream.send_data(body, true)?;
                }
                Ok(reply)
            });
        match sent {
            Ok(reply) => {
                let (inbox, generation) = (Rc::clone(&self.inbox), self.slots[at].generation);
                let head = Rc::clone(&self.slots[at].head);
                let task = spawn_local(async move {
                    let result = receive(reply, head, LIMITS.body).await;
                    inbox.put(News::Ended { slot: at, generation, result });
                });
                self.slots[at].task = Some(task.abort_handle());
            }
            Err(error) => self.ended(at, Err(error.into())),
        }
    }

    /// A stream has ended, with its reply or without.
    fn ended(&mut self, at: usize, result: Result<Whole, Broken>) {
        match result {
            Ok(whole) => {
                let Some(mut flight) = self.land(at) else { return };
                self.ledger.in_flight -= 1;
                flight.first_byte = whole.first_byte;
                self.ledger.completed(&flight, whole.done, &whole);
            }
            Err(Broken::Wire(error)) => self.fail(at, Failure::Wire(error.kind()), &error),
            Err(Broken::Stream(error)) => {
                let (line, generation) = (self.slots[at].line, self.slots[at].line_generation);
                if (error.is_io() || error.is_go_away()) && self.lines[line].generation == generation {
                    self.lines[line].sender = None;
                }
                let Some(flight) = self.slots[at].flight else { return };
                if turned_away(&error) && flight.again < MOST_AGAIN {
                    self.land(at);
                    self.ledger.done.again += 1;
                    self.again.push_back(Flight { again: flight.again + 1, ..flight });
                } else {
                    self.fail(at, Failure::Wire(kind(&error)), &error);
                }
            }
        }
    }

    /// Takes the flight off its stream.
    fn land(&mut self, at: usize) -> Option<Flight> {
        let slot = &mut self.slots[at];
        let flight = slot.flight.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.task = None;
        let line = &mut self.lines[slot.line];
        if line.generation == slot.line_generation {
            line.busy = line.busy.saturating_sub(1);
        }
        self.free.push(at);
        Some(flight)
    }

    fn fail(&mut self, at: usize, failure: Failure, why: &dyn std::fmt::Display) {
        let Some(flight) = self.land(at) else { return };
        self.ledger.in_flight -= 1;
        self.ledger.failed(&flight, clock::mono(), failure, &why.to_string());
    }

    /// Ends what has taken too long: the stream is reset, the connection goes on.
    fn time_out(&mut self, now: Nanos) {
        let late = |flight: &Flight| flight.wire + self.shared.timeout <= now;
        while let Some(flight) = self.again.iter().position(late).and_then(|at| self.again.remove(at)) {
            let error = WireError::Timeout { what: "connection", after: self.shared.timeout.duration() };
            self.ledger.in_flight -= 1;
            self.ledger.failed(&flight, now, Failure::Wire(error.kind()), &error.to_string());
        }
        while let Some((at, generation, wire)) = self.deadlines.front().copied() {
            let gone = self.slots[at].generation != generation;
            if !gone && wire + self.shared.timeout > now {
                return;
            }
            self.deadlines.pop_front();
            if !gone {
                if let Some(task) = self.slots[at].task.take() {
                    task.abort();
                }
                let head = self.slots[at].head.get();
                let what = if head.0 > 0 { "end of the reply's body" } else { "reply" };
                if let Some(flight) = &mut self.slots[at].flight {
                    flight.first_byte = head;
                }
                let error = WireError::Timeout { what, after: self.shared.timeout.duration() };
                self.fail(at, Failure::Wire(error.kind()), &error);
            }
        }
    }
}
