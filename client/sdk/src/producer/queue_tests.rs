//! The send queue, step by step.
