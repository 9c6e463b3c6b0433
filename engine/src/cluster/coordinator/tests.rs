//! The coordinator's edges that a simulation meets too seldom.
