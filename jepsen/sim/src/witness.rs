//! Puts into the trace what nodes, Raft and the network say while they run.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};

use crate::trace::{Event, Trace};

/// The target of everything the simulated network says.
const NETWORK: &str = "turmoil";

/// A subscriber that forgets nothing and prints nothing.
pub(crate) struct Witness {
    trace: Arc<Trace>,
    spans: AtomicU64,
    /// The host that is running.
    host: Mutex<String>,
    line: Mutex<String>,
}

impl Witness {
    pub(crate) fn new(trace: Arc<Trace>) -> Self {
        Self { trace, spans: AtomicU64::new(1), host: Mutex::default(), line: Mutex::default() }
    }
}

fn listens(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    if metadata.is_span() {
        return target == "turmoil::sim";
    }
    match target {
        NETWORK => true,
        _ if target.starts_with("meridian") || target.starts_with("openraft") => {
            *metadata.level() <= Level::DEBUG
        }
        _ => *metadata.level() <= Level::WARN,
    }
}

impl Subscriber for Witness {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        listens(metadata)
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if listens(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut host = self.host.lock();
        host.clear();
        span.record(&mut Name(&mut host));
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = std::mem::take(&mut *self.line.lock());
        line.clear();
        let target = event.metadata().target();
        let kind = if target == NETWORK { Event::Segment } else { Event::Said };
        if kind == Event::Said {
            let _ = write!(line, "{} {target}", event.metadata().level());
        }
        event.record(&mut Fields { line: &mut line, network: kind == Event::Segment });
        let host = self.host.lock().clone();
        self.trace.record(kind, &host, line.as_bytes());
        *self.line.lock() = line;
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {
        self.host.lock().clear();
    }
}

struct Name<'a>(&'a mut String);

impl Visit for Name<'_> {
    fn record_debug(&mut self, _field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, "{value:?}");
    }

    fn record_str(&mut self, _field: &Field, value: &str) {
        self.0.push_str(value);
    }
}

struct Fields<'a> {
    line: &'a mut String,
    network: bool,
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // The bytes of a segment are recorded where they are written and read.
        if self.network && field.name() == "protocol" {
            return;
        }
        let _ = write!(self.line, " {}={value:?}", field.name());
    }
}
