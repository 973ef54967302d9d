//! The faces that operations show to borrowed memory: blocking calls, and starts in a scope.
//!
//! What is asked for is checked by the same functions as for owned buffers, and ends in the same jobs. [`borrowed!`] writes
//! all three forms of an operation: the method of [`Blocking`], that of [`Scope`], and the free function of
//! [`blocking`](super::blocking).
//!
//! [`Blocking`]: super::blocking::Blocking
//! [`Scope`]: super::scope::Scope

mod elements;
mod integrity;
mod memory;

pub use elements::{
    gather_copy, gather_reduce, reduce, reduce_dualcast, reduce_in_place, scatter_copy, scatter_fill, type_convert,
};
pub use integrity::{dif_check, dif_insert, dif_strip, dif_update, dix_generate};
pub use memory::{apply_delta, cache_flush, copy_crc64, create_delta, dualcast, fill_wide, translation_fetch};

/// The type of a borrowed operand.
macro_rules! borrowed_type {
    (read) => { &[u8] };
    (write) => { &mut [u8] };
    (list) => { &crate::op::BlockList };
    (read $scope:lifetime) => { &$scope [u8] };
    (write $scope:lifetime) => { &$scope mut [u8] };
    (list $scope:lifetime) => { &$scope crate::op::BlockList };
}

/// What the checks know it as.
macro_rules! borrowed_operand {
    (read $slice:ident) => {
        crate::op::operand::In::from($slice)
    };
    (write $slice:ident) => {
        crate::op::operand::Out::from($slice)
    };
    (list $list:ident) => {
        $list
    };
}

/// Defines operations on borrowed memory.
///
/// Operands are `read`, `write` or `list`; options follow behind a semicolon. The body says how they become a job, and how
/// the result is read.
macro_rules! borrowed {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($kind:ident $operand:ident),+ $(; $($option:ident: $type:ty),+)?) -> Result<$value:ty> {
            $plan:expr => $read:expr
        }
    )+) => {
        impl crate::op::blocking::Blocking<'_> { $(
            $(#[$doc])*
            #[doc = concat!("See [`Accelerator::", stringify!($name), "`](crate::Accelerator::", stringify!($name), ").")]
            ///
            /// # Errors
            ///
            /// As for the operation on owned buffers, before anything is done.
            pub fn $name(
                self,
                $($operand: borrowed_type!($kind),)+
                $($($option: $type,)+)?
            ) -> Result<$value, crate::Error> {
                $(let $operand = borrowed_operand!($kind $operand);)+
                let job = $plan?;
                // SAFETY: the job is made of these operands, which are borrowed until `run` returns, those that are
                // written exclusively.
                let (outcome, _) = unsafe { self.run(job) };
                Ok($read(outcome))
            }
        )+ }

        impl<'scope> crate::op::scope::Scope<'scope, '_> { $(
            /// Starts it.
            ///
            $(#[$doc])*
            #[doc = concat!("See [`Accelerator::", stringify!($name), "`](crate::Accelerator::", stringify!($name), ").")]
            ///
            /// # Errors
            ///
            /// As for the operation on owned buffers, and nothing is started.
            pub fn $name(
                &'scope self,
                $($operand: borrowed_type!($kind 'scope),)+
                $($($option: $type,)+)?
            ) -> Result<crate::op::scope::Ticket<'scope, $value>, crate::Error> {
                $(let $operand = borrowed_operand!($kind $operand);)+
                let job = $plan?;
                // SAFETY: the job is made of these operands, which stay borrowed for 'scope, which ends after `finish`.
                Ok(unsafe { self.start(job, $read) })
            }
        )+ }

        $(
            #[doc = concat!(
                "[`Blocking::", stringify!($name), "`](crate::blocking::Blocking::", stringify!($name),
                ") on the process-wide accelerator.",
            )]
            ///
            /// # Errors
            ///
            /// As for the operation on owned buffers, before anything is done.
            pub fn $name(
                $($operand: borrowed_type!($kind),)+
                $($($option: $type,)+)?
            ) -> Result<$value, crate::Error> {
                crate::Accelerator::global().blocking().$name($($operand,)+ $($($option,)+)?)
            }
        )+
    };
}

use {borrowed, borrowed_operand, borrowed_type};

/// The result of an operation that has none.
fn nothing(_: crate::dispatch::Outcome) {}
