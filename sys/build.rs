//! Generates the `uapi` bindings from the kernel's `linux/idxd.h`, if the feature `bindgen` asks for it.
//!
//! Without that feature there is nothing to do: the bindings are checked in, and neither libclang nor a kernel
//! header is needed.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "bindgen")]
    generate::run();
}

#[cfg(feature = "bindgen")]
mod generate {
    use std::env;
    use std::path::PathBuf;

    use bindgen::{Bindings, Builder, EnumVariation, Formatter, RustEdition, RustTarget};

    /// The first lines of the generated file.
    const HEADING: &str = "\
// Generated from <linux/idxd.h> by build.rs with the feature `overwrite`; do not edit.
// The header is Copyright(c) 2019 Intel Corporation, LGPL-2.1 WITH Linux-syscall-note.";

    pub(crate) fn run() {
        println!("cargo::rerun-if-env-changed=IDXD_SYS_HEADER");
        println!("cargo::rerun-if-env-changed=IDXD_SYS_INCLUDE_DIR");

        let out_dir = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let bindings = builder().generate().unwrap_or_else(|error| {
            panic!(
                "no bindings from linux/idxd.h: {error}. Is libclang installed, and linux-libc-dev or a directory \
                 named by IDXD_SYS_INCLUDE_DIR?"
            )
        });
        bindings.write_to_file(out_dir.join("uapi.rs")).expect("cannot write the bindings to OUT_DIR");

        if cfg!(feature = "overwrite") {
            overwrite(&bindings);
        }
    }

    /// Rewrites the checked-in file. Only from a header that was named: the installed one is as old as the
    /// distribution, and `--all-features` must not put it in the place of a current one.
    fn overwrite(bindings: &Bindings) {
        if env::var_os("IDXD_SYS_INCLUDE_DIR").is_none() && env::var_os("IDXD_SYS_HEADER").is_none() {
            println!("cargo::warning=bindings not rewritten: set IDXD_SYS_INCLUDE_DIR or IDXD_SYS_HEADER");
            return;
        }
        // The checked-in file serves one target; another one's layouts must not end up in it.
        let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
        assert_eq!(arch, "x86_64", "the feature `overwrite` is for x86-64 targets");
        let sources = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
        bindings
            .write_to_file(sources.join("src/generated/uapi_x86_64.rs"))
            .expect("cannot rewrite the checked-in bindings");
    }

    fn builder() -> Builder {
        let mut builder = bindgen::builder()
            .raw_line(HEADING)
            .disable_header_comment()
            .use_core()
            .ctypes_prefix("core::ffi")
            // The minimum of the workspace, so that the output does not follow the compiler of the day.
            .rust_target(RustTarget::stable(89, 0).unwrap_or_else(|error| panic!("bindgen knows Rust 1.89: {error}")))
            .rust_edition(RustEdition::Edition2024)
            .formatter(Formatter::Prettyplease)
            .default_enum_style(EnumVariation::Consts)
            .prepend_enum_name(false)
            // Without a list, libc's and the compiler's own definitions come along.
            .allowlist_type("(dsa|iax)_(hw_desc|raw_desc|completion_record|raw_completion_record)")
            .allowlist_type("(dsa|iax)_(opcode|completion_status)|idxd_scmd_stat")
            .allowlist_var("(IDXD|DSA|IAX)_.*")
            .derive_default(true)
            .layout_tests(true);

        // An explicit header wins; its own includes still come from the include directory.
        if let Some(dir) = env::var_os("IDXD_SYS_INCLUDE_DIR") {
            let dir = dir.into_string().expect("IDXD_SYS_INCLUDE_DIR is not UTF-8");
            println!("cargo::rerun-if-changed={dir}/linux/idxd.h");
            builder = builder.clang_arg(format!("-I{dir}"));
        }
        if let Some(header) = env::var_os("IDXD_SYS_HEADER") {
            let header = header.into_string().expect("IDXD_SYS_HEADER is not UTF-8");
            println!("cargo::rerun-if-changed={header}");
            builder.header(header)
        } else {
            builder.header_contents("idxd-sys.h", "#include <linux/idxd.h>\n")
        }
    }
}
