//! The steps of such a history.

use dsa_emulator::iommu::Direction;
use dsa_emulator::{Access, Permission};
use proptest::prelude::*;

use super::{DEVICES, MODES, WINDOW};
use crate::machine::*;

/// One step. Processes and mappings are numbered among those that there are.
#[derive(Clone, Debug)]
pub(crate) enum Life {
    /// A process that is bound to a device at once.
    Start(usize),
    Bind {
        process: usize,
        device: usize,
    },
    Unbind {
        process: usize,
        binding: usize,
    },
    Exit(usize),
    /// The exit, and the end of all binds.
    Drop(usize),
    Map {
        process: usize,
        page: u64,
        absent: bool,
        permission: Permission,
    },
    Unmap {
        process: usize,
        page: u64,
    },
    Protect {
        process: usize,
        page: u64,
        permission: Permission,
    },
    Evict {
        process: usize,
        page: u64,
    },
    Touch {
        process: usize,
        page: u64,
    },
    Migrate {
        process: usize,
        page: u64,
    },
    Request {
        device: usize,
        pasid: u32,
        page: u64,
        access: Access,
    },
    Attach {
        device: usize,
        space: usize,
    },
    Detach(usize),
    Enable(usize),
    Disable(usize),
    Allocate(usize),
    AttachPasid {
        device: usize,
        pasid: u32,
        space: usize,
    },
    /// One space for all devices, without a PASID and with its own, or with one that was asked for.
    Share {
        space: usize,
        pasid: Option<u32>,
    },
    DetachPasid {
        device: usize,
        pasid: u32,
    },
    Free(u32),
    /// The same after it was detached from all devices.
    Clear(u32),
    MapDma {
        space: usize,
        direction: Direction,
    },
    UnmapDma {
        space: usize,
        mapping: usize,
    },
    Flush(usize),
    Tick,
}

pub(crate) fn life() -> impl Strategy<Value = Life> {
    let device = || 0..DEVICES.len();
    let direction = || proptest::sample::select(&DIRECTIONS[..]);
    let space = || 0..MODES.len();
    // Those that are in use most of the time.
    let pasid = || 1u32..5;
    let who = || (any::<usize>(), 0..WINDOW);
    let permission = || prop_oneof![Just(Permission::ReadOnly), Just(Permission::ReadWrite)];
    let access = prop_oneof![Just(Access::Read), Just(Access::Write)];
    let processes = prop_oneof![
        4 => device().prop_map(Life::Start),
        5 => (any::<usize>(), device()).prop_map(|(process, device)| Life::Bind { process, device }),
        4 => (any::<usize>(), any::<usize>()).prop_map(|(process, binding)| Life::Unbind { process, binding }),
        1 => any::<usize>().prop_map(Life::Exit),
        4 => any::<usize>().prop_map(Life::Drop),
        8 => (who(), any::<bool>(), permission())
            .prop_map(|((process, page), absent, permission)| Life::Map { process, page, absent, permission }),
        2 => who().prop_map(|(process, page)| Life::Unmap { process, page }),
        2 => (who(), permission()).prop_map(|((process, page), permission)| Life::Protect { process, page, permission }),
        2 => who().prop_map(|(process, page)| Life::Evict { process, page }),
        1 => who().prop_map(|(process, page)| Life::Touch { process, page }),
        1 => who().prop_map(|(process, page)| Life::Migrate { process, page }),
        4 => (device(), pasid(), 0..WINDOW, access)
            .prop_map(|(device, pasid, page, access)| Life::Request { device, pasid, page, access }),
    ];
    let spaces = prop_oneof![
        2 => (device(), space()).prop_map(|(device, space)| Life::Attach { device, space }),
        1 => device().prop_map(Life::Detach),
        4 => device().prop_map(Life::Enable),
        3 => device().prop_map(Life::Disable),
        3 => device().prop_map(Life::Allocate),
        8 => (device(), pasid(), space())
            .prop_map(|(device, pasid, space)| Life::AttachPasid { device, pasid, space }),
        3 => (space(), proptest::option::of(pasid())).prop_map(|(space, pasid)| Life::Share { space, pasid }),
        4 => (device(), pasid()).prop_map(|(device, pasid)| Life::DetachPasid { device, pasid }),
        2 => pasid().prop_map(Life::Free),
        4 => pasid().prop_map(Life::Clear),
        10 => (space(), direction()).prop_map(|(space, direction)| Life::MapDma { space, direction }),
        6 => (space(), any::<usize>()).prop_map(|(space, mapping)| Life::UnmapDma { space, mapping }),
        1 => space().prop_map(Life::Flush),
        1 => Just(Life::Tick),
    ];
    prop_oneof![processes, spaces]
}
