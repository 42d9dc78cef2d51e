//! The report as a whole, against a naive one.

mod bucket;
mod damage;
mod naive;
#[cfg(feature = "postgres")]
mod postgres;
mod publishing;
mod random;
mod shown;
mod snapshots;
mod worked_example;
mod world;
