//! `neartime import`: cuts files of any name and order into files of a source's layout.
