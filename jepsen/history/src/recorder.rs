//! The recorder that many concurrent clients share.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Write},
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    clock::Clock,
    line::Header,
    op::{Call, Op, OpId, Outcome},
    writer::Writer,
};

/// Why a history could not be recorded whole.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A line could not be written; the history has a hole and must not be believed.
    #[error("the history could not be written: {0}")]
    Io(#[from] io::Error),
    /// The history was finished before.
    #[error("the history is already finished")]
    Finished,
}

/// Hands out operation numbers and writes completed operations; clones share one history.
///
/// Recording never fails for the client that records: the first write error is kept and reported by
/// [`Recorder::finish`]. No method waits for anything but a short lock and one flushed line.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Box<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    next: OpId,
    open: BTreeMap<OpId, Op>,
    writer: Option<Writer<Box<dyn Write + Send>>>,
    broken: Option<io::Error>,
}

impl Recorder {
    /// Begins a history.
    ///
    /// # Errors
    /// If the header cannot be written.
    pub fn new(
        out: impl Write + Send + 'static,
        header: &Header,
        clock: impl Clock + 'static,
    ) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = Box::new(out);
        let writer = Some(Writer::new(out, header)?);
        let state = Mutex::new(State { next: 0, open: BTreeMap::new(), writer, broken: None });
        Ok(Self { shared: Arc::new(Shared { clock: Box::new(clock), state }) })
    }

    /// Notes that a client is about to do something. Call it before anything is sent.
    ///
    /// Dropping what it returns, as a cancelled task does, records the operation as `info`.
    pub fn invoke<C: Call>(&self, process: u64, call: C) -> Pending<C> {
        self.invoke_since(process, call, u64::MAX)
    }

    /// As [`Recorder::invoke`], for what may have taken effect earlier, before its client knew of it: a consumer
    /// counts as gone since its node heard nothing of it. A time that is still to come is now.
    pub fn invoke_since<C: Call>(&self, process: u64, call: C, since_ns: u64) -> Pending<C> {
        let kind = call.into();
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let invoke_ns = self.now_ns().min(since_ns);
        let op = Op { id, process, invoke_ns, complete_ns: None, outcome: Outcome::Info, why: None, kind };
        state.open.insert(id, op);
        Pending { recorder: self.clone(), id, call: PhantomData }
    }

    /// The time of the history's clock.
    pub fn now_ns(&self) -> u64 {
        self.shared.clock.now_ns()
    }

    /// Records what is still open as `info`, writes the end line, and says how many operations there are.
    ///
    /// # Errors
    /// The first write that failed, or that the history is already finished.
    pub fn finish(&self) -> Result<u64, RecordError> {
        let mut state = self.state();
        let open = std::mem::take(&mut state.open);
        for op in open.into_values() {
            state.write(&op);
        }
        let writer = state.writer.take();
        if let Some(error) = state.broken.take() {
            return Err(error.into());
        }
        let (_, ops) = writer.ok_or(RecordError::Finished)?.finish()?;
        Ok(ops)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, id: OpId, ending: impl FnOnce(&mut Op)) {
        let mut state = self.state();
        if let Some(mut op) = state.open.remove(&id) {
            ending(&mut op);
            state.write(&op);
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl State {
    fn write(&mut self, op: &Op) {
        if self.broken.is_some() {
            return;
        }
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.op(op)
        {
            self.broken = Some(error);
        }
    }
}

/// An operation under way. Complete it once; dropped, it is `info` and its end unknown.
#[derive(Debug)]
#[must_use = "an operation that is dropped is recorded as info"]
pub struct Pending<C: Call> {
    recorder: Recorder,
    id: OpId,
    call: PhantomData<fn() -> C>,
}

impl<C: Call> Pending<C> {
    /// Number of the operation.
    pub fn id(&self) -> OpId {
        self.id
    }

    /// It took effect, and this is the answer.
    pub fn ok(self, answer: C::Answer) {
        self.end(Outcome::Ok, Some(answer), None);
    }

    /// It definitely did not take effect and never will.
    pub fn fail(self, why: impl Into<String>) {
        self.end(Outcome::Fail, None, Some(why.into()));
    }

    /// The client gave up without knowing.
    pub fn info(self, why: impl Into<String>) {
        self.end(Outcome::Info, None, Some(why.into()));
    }

    /// The client gave up, but part of an answer had come: what was seen counts as seen.
    pub fn partial(self, answer: C::Answer, why: impl Into<String>) {
        self.end(Outcome::Info, Some(answer), Some(why.into()));
    }

    fn end(self, outcome: Outcome, answer: Option<C::Answer>, why: Option<String>) {
        let complete_ns = self.recorder.now_ns();
        self.recorder.complete(self.id, |op| {
            op.complete_ns = Some(complete_ns);
            op.outcome = outcome;
            op.why = why;
            if let Some(answer) = answer {
                C::settle(&mut op.kind, answer);
            }
        });
    }
}

impl<C: Call> Drop for Pending<C> {
    fn drop(&mut self) {
        self.recorder.complete(self.id, |_| ());
    }
}
