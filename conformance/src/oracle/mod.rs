//! What results must be, computed in the plainest way: bit by bit, element by element.

pub(crate) mod crc;
pub(crate) mod integrity;
pub(crate) mod number;
