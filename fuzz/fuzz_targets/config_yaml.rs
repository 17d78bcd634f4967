//! The client's `config.yaml`: read, and what was read survives being written.
#![no_main]

use dmp_client::config::Config;
use dnsmesh_fuzz::as_text;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    as_text(data, |text| {
        let Ok(config) = Config::from_yaml(text) else {
            return;
        };
        let _ = (
            config.mesh_zone(),
            config.identity_zone(),
            config.own_address(),
            config.salt(),
        );
        let written = config.to_yaml().expect("a configuration can be written");
        let again = Config::from_yaml(&written).expect("what was written can be read");
        assert!(again == config, "{written}");
    });
});
