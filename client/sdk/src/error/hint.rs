//! What to do next, for every error.

use meridian_proto::v1::ErrorReason;

use super::Error;

pub(super) fn of(error: &Error) -> String {
    match error {
        Error::Invalid { .. } => "correct the argument".into(),
        Error::Refused(refused) => of_reason(refused.reason).into(),
        Error::Connect { addresses, .. } => format!(
            "check that a node listens at {}; `meridian dev` starts one on this machine",
            addresses.first().map_or("that address", String::as_str)
        ),
        Error::Timeout { last, .. } => match last {
            Some(last) => of(last),
            None => "check with `meridian status` that a majority of the nodes is up, then try again".into(),
        },
        Error::Indeterminate { .. } => {
            "it may have taken effect: look before doing it again, or accept that it may happen twice".into()
        }
        Error::Fenced { .. } => "make sure that only one process uses this producer name".into(),
        Error::Corrupt { .. } | Error::Gap { .. } => {
            "read the same offsets from another replica and look at this node's disk and log".into()
        }
        Error::LogChanged { .. } => "begin again from the earliest offset of the new log".into(),
        Error::Closed => "open another producer or consumer".into(),
    }
}

fn of_reason(reason: ErrorReason) -> &'static str {
    use ErrorReason::*;
    match reason {
        InvalidArgument => "correct the named field",
        NotFound => "check the name with `meridian topic list`, or create it first",
        AlreadyExists => "use it as it is, or choose another name",
        Conflict => "look at its present state and decide anew",
        Limit => "remove something that counts towards the named bound, or raise the bound",
        NotEnoughNodes => "ask for fewer copies, add nodes, or undo the drain of another",
        NotLeader | Unavailable => {
            "check with `meridian status` that a majority of the nodes is up, then try again"
        }
        Indeterminate => "it may have taken effect: look before doing it again",
        Throttled => "send less at once, or wait",
        CorruptBatch => {
            "the bytes were damaged on their way: publish again, and suspect the network or the memory"
        }
        TooLarge => "send smaller messages",
        SequenceGap | PartialOverlap => {
            "two producers share an identity, or acknowledged data is gone: look at the node's log"
        }
        DuplicateBeyondWindow => "the message is stored already; do not send it again",
        UnknownProducer | TokenExpired => "open the producer again",
        StaleEpoch => "make sure that only one process uses this producer name",
        TooManyProducers => "use fewer producers, or give them names and keep them",
        TopicSealed => "the topic is being deleted: publish to another one",
        DiskFull => "free space: shorten the retention, delete topics, or give the node more disk",
        OutOfRange => "read from `earliest`, or look at the log's bounds first",
        ReplicaUnavailable => {
            "choose a node that holds a copy (see `meridian topic describe`), or wait until it has caught up"
        }
        NotHeld | LeaseEnded | StaleDelivery => {
            "nothing: it is delivered again, to this consumer or another; lengthen or extend leases if this is frequent"
        }
        OtherKind => "use the kind that the subscription has, or another subscription",
        ConsumerPresent => "wait until the other consumer has gone, or use a failover or shared subscription",
        Protocol | Internal | Unspecified => "look at the node's log; this should not happen",
    }
}

#[cfg(test)]
mod tests {
    use meridian_proto::v1::Failure;

    use super::*;

    #[test]
    fn every_reason_has_a_hint_and_a_name() {
        for number in 1..=30 {
            let reason = ErrorReason::try_from(number).expect("a published reason");
            let error = Error::from(Failure::new(reason, "why"));
            assert!(error.hint().len() > 10, "{reason:?}");
            assert!(error.reason().chars().all(|c| c.is_ascii_uppercase() || c == '_'), "{reason:?}");
        }
    }
}
