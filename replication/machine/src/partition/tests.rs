//! Stories and the model check of the partition machine.
