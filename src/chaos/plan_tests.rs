use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn plan(seed: u64, models: usize, only: &[FaultKind]) -> Plan {
    let every = Duration::from_secs(1);
    Plan::new(PlanOptions { seed, every, models, only: only.to_vec() })
}

fn kinds() -> impl Strategy<Value = Vec<FaultKind>> {
    proptest::sample::subsequence(FaultKind::ALL.to_vec(), 0..=FaultKind::ALL.len())
}

proptest! {
    #[test]
    fn same_seed_same_faults(seed: u64, models in 1usize..50, only in kinds()) {
        let first: Vec<_> = plan(seed, models, &only).take(200).collect();
        let second: Vec<_> = plan(seed, models, &only).take(200).collect();
        prop_assert_eq!(first, second);
    }

    #[test]
    fn faults_come_in_order_to_models_that_are_there(seed: u64, models in 1usize..50, only in kinds()) {
        let mut before = Duration::ZERO;
        for fault in plan(seed, models, &only).take(200) {
            prop_assert!(fault.at >= before);
            before = fault.at;
            prop_assert!(fault.target.is_none_or(|target| target < models));
            prop_assert!(only.is_empty() || only.contains(&fault.kind));
            prop_assert_eq!(fault.part.is_some(), fault.kind == FaultKind::Panic);
        }
    }

    #[test]
    fn panics_stay_below_the_windows_of_the_service(seed: u64) {
        let panics: Vec<_> = plan(seed, 5, &[FaultKind::Panic]).take(100).collect();
        let most = |parts: &dyn Fn(Part) -> bool, period: u64| {
            let times: Vec<_> =
                panics.iter().filter(|fault| fault.part.is_some_and(parts)).map(|f| f.at).collect();
            let within = |from: &Duration| {
                let inside = |at: &&Duration| **at >= *from && **at - *from <= Duration::from_secs(period);
                times.iter().filter(inside).count()
            };
            times.iter().map(within).max().unwrap_or(0)
        };
        prop_assert!(most(&Part::is_below_root, 300) <= 2);
        prop_assert!(most(&|part| part == Part::Instance, 60) <= 8);
        prop_assert!(most(&|part| part == Part::ZmqGateway, 60) <= 3);
    }
}

#[test]
fn another_seed_gives_other_faults_and_every_kind_comes() {
    let first: Vec<_> = plan(1, 5, &[]).take(200).collect();
    let second: Vec<_> = plan(2, 5, &[]).take(200).collect();
    assert_ne!(first, second);
    let seen: BTreeSet<_> = first.iter().map(|fault| fault.kind).collect();
    assert_eq!(seen, FaultKind::ALL.into_iter().collect());
}

#[test]
fn kinds_are_read_by_their_words() {
    for kind in FaultKind::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    let error = "murder".parse::<FaultKind>().unwrap_err();
    assert!(error.contains("kill, stop, freeze"), "{error}");
}
