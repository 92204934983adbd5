//! Who calls: the seam where identities and permissions will come in. It stands before admission.

/// Whoever published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name by which limits and logs know the caller.
    pub name: String,
}

/// What a caller shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// The `authorization` that came with the call.
    pub token: Option<String>,
}

/// Tells who a caller is.
pub trait Authenticate: Send + Sync + 'static {
    /// The caller behind this credential, or nobody.
    fn caller(&self, credential: &Credential) -> Option<Caller>;
}

/// Everybody is welcome and nobody is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Authenticate for Anonymous {
    fn caller(&self, _credential: &Credential) -> Option<Caller> {
        Some(Caller { name: "anonymous".into() })
    }
}
