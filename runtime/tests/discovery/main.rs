//! Discovery of devices, on trees that look like sysfs: what is read, what is chosen, and what is said of the rest.

mod health;
mod reading;
mod rejecting;
mod selecting;
mod tree;
