//! A piece of work that benchmarks time and the check of instructions counts.

/// Something the broker does, with all it takes to do it alone.
pub(crate) struct Work {
    /// What kind of thing it is.
    pub(crate) group: &'static str,
    /// What exactly.
    pub(crate) name: String,
    /// How many of its unit are done: deliveries, members, events.
    pub(crate) elements: u64,
    prepare: Box<dyn Fn() -> Run>,
}

/// How work that is prepared is done.
pub(crate) enum Run {
    /// As often as one likes: it ends as it began.
    Again(Box<dyn FnMut()>),
    /// Once, and then it is to be prepared anew.
    Once(Box<dyn FnOnce()>),
}

impl Work {
    /// Work that ends as it began.
    pub(crate) fn again<F: FnMut() + 'static>(
        (group, name): (&'static str, impl Into<String>),
        elements: u64,
        prepare: impl Fn() -> F + 'static,
    ) -> Self {
        let prepare = Box::new(move || Run::Again(Box::new(prepare())));
        Self { group, name: name.into(), elements, prepare }
    }

    /// Work that uses up what it was given.
    pub(crate) fn once<F: FnOnce() + 'static>(
        (group, name): (&'static str, impl Into<String>),
        elements: u64,
        prepare: impl Fn() -> F + 'static,
    ) -> Self {
        let prepare = Box::new(move || Run::Once(Box::new(prepare())));
        Self { group, name: name.into(), elements, prepare }
    }

    /// Makes what the work needs.
    pub(crate) fn prepare(&self) -> Run {
        (self.prepare)()
    }
}
