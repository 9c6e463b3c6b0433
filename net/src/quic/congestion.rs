//! Congestion control that lets the last word through.
//!
//! In: what quinn tells a congestion controller. Out: what CUBIC (RFC 9438) answers; but once [`Leaving::leave`] was called,
//! a window without a bound. Never: anything sent beyond CUBIC's window but the packet that closes the connection.
//!
//! quinn 0.11 puts that packet under congestion control like any other, as soon as something else is pending beside it; and
//! a connection that is closing takes no acknowledgements any more, so a full window stays full. A link that is closed while
//! it sends would then end without a word, and its peer would wait out the idle time.

use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use quinn::congestion::{Controller, ControllerFactory, CubicConfig};
use quinn_proto::RttEstimator;

/// Above 2³² quinn does not pace either; far enough below 2⁶⁴ to be added to.
const UNBOUNDED: u64 = 1 << 48;

/// Whether one link is being closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaving(Arc<AtomicBool>);

impl Leaving {
    /// To be called right before the connection is closed: nothing but the closing is sent after it.
    pub(super) fn leave(&self) {
        self.0.store(true, Relaxed);
    }

    /// Controllers for the connection that this belongs to.
    pub(super) fn controllers(&self) -> Arc<dyn ControllerFactory + Send + Sync> {
        Arc::new(Factory { inner: Arc::new(CubicConfig::default()), leaving: self.clone() })
    }
}

struct Factory {
    inner: Arc<CubicConfig>,
    leaving: Leaving,
}

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::clone(&self.inner).build(now, current_mtu);
        Box::new(Courteous { inner, leaving: self.leaving.clone() })
    }
}

struct Courteous {
    inner: Box<dyn Controller>,
    leaving: Leaving,
}

impl Controller for Courteous {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.leaving.0.load(Relaxed) { UNBOUNDED } else { self.inner.window() }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), leaving: self.leaving.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
