//! Results of configuration commands: the queue or device attribute `cmd_status`.
//!
//! The value is the device's error code (bits 7:0 of CMDSTS, specification section 9.2), or, with bit 31 set, a
//! *soft* code of the driver, which refused before it asked the device. Enabling a queue fails with a bare errno; this
//! is the place where the reason stands.
//!
//! ```
//! use idxd_sys::cmd_status;
//!
//! let code = 0x8011_0000;
//! assert!(cmd_status::is_soft(code));
//! assert_eq!(cmd_status::name(code), Some("IDXD_SCMD_WQ_USER_NO_IOMMU"));
//! ```

/// Set in codes that the driver made up; the others come from the device.
pub const SOFT: u32 = 0x8000_0000;

/// True for a code of the driver, false for success and for a code of the device.
#[inline]
pub const fn is_soft(code: u32) -> bool {
    code & SOFT != 0
}

macro_rules! codes {
    ($($name:ident = $value:literal, $kernel:literal, $meaning:literal, $remedy:literal;)*) => {
        $(
            #[doc = concat!("`", $kernel, "`: ", $meaning, ".\n\nRemedy: ", $remedy, ".")]
            pub const $name: u32 = $value;
        )*

        /// Every code named here, in ascending order.
        pub const ALL: &[u32] = &[$($name),*];

        /// The kernel's name of a code, `None` if it is not known.
        pub const fn name(code: u32) -> Option<&'static str> {
            match code { $($value => Some($kernel),)* _ => None }
        }

        /// What a code means, in lower case without a full stop, `None` if it is not known.
        pub const fn meaning(code: u32) -> Option<&'static str> {
            match code { $($value => Some($meaning),)* _ => None }
        }

        /// What to do about a code, in lower case without a full stop, `None` if it is not known.
        pub const fn remedy(code: u32) -> Option<&'static str> {
            match code { $($value => Some($remedy),)* _ => None }
        }
    };
}

codes! {
    SUCCESS = 0x0, "IDXD_CMDSTS_SUCCESS", "success", "nothing to do";
    INVAL_CMD = 0x01, "IDXD_CMDSTS_INVAL_CMD", "the device does not know the command",
        "driver and device do not fit together: use a newer kernel";
    INVAL_WQIDX = 0x02, "IDXD_CMDSTS_INVAL_WQIDX", "no such queue on the device",
        "use a queue number below the number of queues";
    HW_ERR = 0x03, "IDXD_CMDSTS_HW_ERR", "hardware error", "read the kernel log, then reset the device";
    HW_DEV_ENABLED = 0x10, "IDXD_CMDSTS_ERR_DEV_ENABLED", "the device is already enabled",
        "disable the device before it is configured again";
    HW_CONFIG = 0x11, "IDXD_CMDSTS_ERR_CONFIG", "the general configuration is invalid",
        "check the read buffer limit of the device";
    HW_BUS_MASTER = 0x12, "IDXD_CMDSTS_ERR_BUSMASTER_EN", "bus mastering is off",
        "bind the PCI function to the idxd driver again";
    HW_PASID_INVAL = 0x13, "IDXD_CMDSTS_ERR_PASID_INVAL", "the PASID configuration of the device is invalid",
        "check that the IOMMU runs in scalable mode (intel_iommu=on,sm_on)";
    HW_WQ_SIZE_RANGE = 0x14, "IDXD_CMDSTS_ERR_WQ_SIZE_ERANGE", "the queue sizes add up to more than the device has",
        "make queues smaller";
    HW_GRP_CONFIG = 0x15, "IDXD_CMDSTS_ERR_GRP_CONFIG", "a group is configured wrongly",
        "give every group that has queues an engine, and put each queue and engine into one group";
    HW_GRP_CONFIG2 = 0x16, "IDXD_CMDSTS_ERR_GRP_CONFIG2", "a group is configured wrongly",
        "give every group that has queues an engine, and put each queue and engine into one group";
    HW_GRP_CONFIG3 = 0x17, "IDXD_CMDSTS_ERR_GRP_CONFIG3", "a group is configured wrongly",
        "give every group that has queues an engine, and put each queue and engine into one group";
    HW_GRP_CONFIG4 = 0x18, "IDXD_CMDSTS_ERR_GRP_CONFIG4", "the read buffers of a group are configured wrongly",
        "reserve fewer read buffers, and allow each group at least as many as it reserves";
    HW_DEV_NOT_ENABLED = 0x20, "IDXD_CMDSTS_ERR_DEV_NOTEN", "the device is not enabled",
        "enable the device before its queues";
    HW_WQ_ENABLED = 0x21, "IDXD_CMDSTS_ERR_WQ_ENABLED", "the queue is already enabled",
        "disable the queue before it is configured again";
    HW_WQ_SIZE = 0x22, "IDXD_CMDSTS_ERR_WQ_SIZE", "the queue has no entries, or its threshold is out of range",
        "set the size, and a threshold not above it";
    HW_WQ_PRIORITY = 0x23, "IDXD_CMDSTS_ERR_WQ_PRIOR", "the queue has no priority", "set a priority from 1 to 15";
    HW_WQ_MODE = 0x24, "IDXD_CMDSTS_ERR_WQ_MODE", "the queue does not support this mode",
        "change between shared and dedicated; shared mode needs a PASID";
    HW_BOF = 0x25, "IDXD_CMDSTS_ERR_BOF_EN", "block on fault is not supported", "turn block_on_fault off";
    HW_PASID = 0x26, "IDXD_CMDSTS_ERR_PASID_EN", "the queue needs a PASID, or must not have one",
        "check that the IOMMU runs in scalable mode (intel_iommu=on,sm_on)";
    HW_MAX_BATCH = 0x27, "IDXD_CMDSTS_ERR_MAX_BATCH_SIZE", "the maximum batch size is above the device's",
        "lower max_batch_size of the queue";
    HW_MAX_TRANSFER = 0x28, "IDXD_CMDSTS_ERR_MAX_XFER_SIZE", "the maximum transfer size is above the device's",
        "lower max_transfer_size of the queue";
    HW_DISABLE_NOT_ENABLED = 0x31, "IDXD_CMDSTS_ERR_DIS_DEV_EN", "the device to be disabled is not enabled",
        "nothing to do";
    HW_WQ_NOT_ENABLED = 0x32, "IDXD_CMDSTS_ERR_DEV_NOT_EN", "the queue, or its device, is not enabled",
        "enable the device, then the queue";
    HW_INVAL_INT_IDX = 0x41, "IDXD_CMDSTS_ERR_INVAL_INT_IDX", "no such interrupt table entry",
        "driver and device do not fit together: use a newer kernel";
    HW_NO_HANDLE = 0x42, "IDXD_CMDSTS_ERR_NO_HANDLE", "no interrupt handle left", "enable fewer queues";

    DEV_ENABLED = 0x8000_0010, "IDXD_SCMD_DEV_ENABLED", "the device is already enabled",
        "disable the device before it is configured again";
    DEV_NOT_ENABLED = 0x8000_0020, "IDXD_SCMD_DEV_NOT_ENABLED", "the device is not enabled",
        "enable the device before its queues";
    WQ_ENABLED = 0x8000_0021, "IDXD_SCMD_WQ_ENABLED", "the queue is already enabled",
        "disable the queue before it is configured again";
    DEV_DMA_ERR = 0x8002_0000, "IDXD_SCMD_DEV_DMA_ERR", "the device could not be registered with the DMA engine",
        "read the kernel log";
    WQ_NO_GRP = 0x8003_0000, "IDXD_SCMD_WQ_NO_GRP", "the queue belongs to no group", "set group_id of the queue";
    WQ_NO_NAME = 0x8004_0000, "IDXD_SCMD_WQ_NO_NAME", "the queue has no name", "set name of the queue";
    WQ_NO_SVM = 0x8005_0000, "IDXD_SCMD_WQ_NO_SVM", "a shared queue needs shared virtual memory",
        "boot with intel_iommu=on,sm_on, with VT-d and PASID enabled in the firmware, or use a dedicated queue";
    WQ_NO_THRESH = 0x8006_0000, "IDXD_SCMD_WQ_NO_THRESH", "the shared queue has no threshold",
        "set threshold of the queue, at most its size";
    WQ_PORTAL_ERR = 0x8007_0000, "IDXD_SCMD_WQ_PORTAL_ERR", "the portal of the queue could not be mapped",
        "read the kernel log";
    WQ_RES_ALLOC_ERR = 0x8008_0000, "IDXD_SCMD_WQ_RES_ALLOC_ERR", "no memory for the resources of the queue",
        "free memory, or make the queue smaller";
    PERCPU_ERR = 0x8009_0000, "IDXD_SCMD_PERCPU_ERR", "no per-CPU memory for the queue's reference count",
        "free memory";
    DMA_CHAN_ERR = 0x800a_0000, "IDXD_SCMD_DMA_CHAN_ERR", "the DMA channel of a kernel queue could not be registered",
        "read the kernel log";
    CDEV_ERR = 0x800b_0000, "IDXD_SCMD_CDEV_ERR", "the character device could not be created", "read the kernel log";
    WQ_NO_SWQ_SUPPORT = 0x800c_0000, "IDXD_SCMD_WQ_NO_SWQ_SUPPORT", "shared queues are not supported here",
        "use a dedicated queue, or a CPU and a kernel that offer ENQCMD";
    WQ_NONE_CONFIGURED = 0x800d_0000, "IDXD_SCMD_WQ_NONE_CONFIGURED", "no queue of the device is configured",
        "configure a queue before the device is enabled";
    WQ_NO_SIZE = 0x800e_0000, "IDXD_SCMD_WQ_NO_SIZE", "the queue has no entries", "set size of the queue";
    WQ_NO_PRIV = 0x800f_0000, "IDXD_SCMD_WQ_NO_PRIV", "a kernel queue could not be made privileged",
        "enable the IOMMU with PASID support, or use a dedicated queue";
    WQ_IRQ_ERR = 0x8010_0000, "IDXD_SCMD_WQ_IRQ_ERR", "the interrupt of the queue could not be set up",
        "read the kernel log";
    WQ_USER_NO_IOMMU = 0x8011_0000, "IDXD_SCMD_WQ_USER_NO_IOMMU",
        "a user queue needs an IOMMU with shared virtual addressing",
        "boot with intel_iommu=on,sm_on, with VT-d and PASID enabled in the firmware";
    DEV_EVL_ERR = 0x8012_0000, "IDXD_SCMD_DEV_EVL_ERR", "the event log could not be set up",
        "free memory, or make event_log_size smaller";
    WQ_NO_DRV_NAME = 0x8020_0000, "IDXD_SCMD_WQ_NO_DRV_NAME", "driver_name of the queue does not name the driver",
        "set driver_name, to user for the character device or to dmaengine for the kernel";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascending_and_complete() {
        assert!(ALL.is_sorted_by(|a, b| a < b));
        for &code in ALL {
            assert!(name(code).unwrap().starts_with(if is_soft(code) { "IDXD_SCMD_" } else { "IDXD_CMDSTS_" }));
            for text in [meaning(code).unwrap(), remedy(code).unwrap()] {
                assert!(!text.is_empty() && !text.ends_with('.'), "{code:#x}");
            }
        }
    }

    #[test]
    fn unknown_codes_have_no_text() {
        assert_eq!((name(0x99), meaning(0x99), remedy(0x99)), (None, None, None));
        assert_eq!(meaning(SOFT), None);
    }

    #[test]
    fn only_the_drivers_codes_are_soft() {
        assert!(!is_soft(SUCCESS) && !is_soft(HW_MAX_TRANSFER));
        assert!(is_soft(DEV_ENABLED) && is_soft(WQ_NO_DRV_NAME));
    }
}
