//! one_for_all and rest_for_one with real actors.

use symphony::supervision::Strategy;

use crate::bench::{Crash, flags, virtual_time};

#[test]
fn members_that_crash_together_are_restarted_once() {
    virtual_time(|bench| async move {
        // a second restart would be one too many
        let top = bench.running(flags(Strategy::OneForAll), bench.workers(&["a", "b", "c"])).await;
        for child in ["a", "b", "c"] {
            bench.address(child).do_send(Crash);
        }
        assert_eq!(bench.journal().await, "-a -b -c +a +b +c");
        assert_eq!(top.children().await, "a:running b:running c:running");
    });
}
