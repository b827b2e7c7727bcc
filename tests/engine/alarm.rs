use std::time::{Duration, Instant};

use ringpost::engine::Alarm;

use super::support::*;

#[test]
fn alarms_come_never_early_and_closer_than_a_millisecond_timer() {
    let _quiet = with_others();
    on_both(|kind| async move {
        let mut alarm = Alarm::new().unwrap();
        let mut late = Vec::new();
        for n in 0..301_u32 {
            let at = Instant::now() + Duration::from_micros(200 + u64::from(n) * 7);
            alarm.until(at).await.unwrap();
            late.push(Instant::now().checked_duration_since(at).expect("not early"));
        }
        late.sort_unstable();
        println!("{}: median {:?}, p90 {:?}", kind.name(), late[150], late[270]);
        // tokio's timer is 1.05 ms late at the median.
        assert!(late[150] < Duration::from_micros(500), "{:?}", late[150]);
    });
}

#[test]
fn an_alarm_that_was_left_alone_can_be_set_anew_and_holds_up_nothing() {
    let _quiet = with_others();
    let start = Instant::now();
    on_both(|_| async {
        let mut alarm = Alarm::new().unwrap();
        let short = Duration::from_millis(20);
        for _ in 0..3 {
            let far = alarm.until(Instant::now() + Duration::from_secs(3_600));
            assert!(tokio::time::timeout(short, far).await.is_err());
            let begun = Instant::now();
            alarm.until(begun + short).await.unwrap();
            assert!(begun.elapsed() >= short);
        }
        alarm.until(start).await.unwrap();
    });
    assert!(start.elapsed() < Duration::from_secs(10));
}
