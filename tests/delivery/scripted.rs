//! A scripted server between generator and sink, over many seeds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use ringpost::blast::content::Content;
use ringpost::blast::content::spread::Spread;
use ringpost::blast::plan::{Plan, StopAfter};
use ringpost::blast::{self};
use ringpost::delivery::{JoinOptions, SentRun, join, join_once};
use ringpost::dial::Target;
use ringpost::engine::{self, Io};
use ringpost::host;
use ringpost::run::Run;
use ringpost::stamp::{Stamp, header_end};
use tempfile::TempDir;

use super::ledger::{Ledger, To};
use super::server::{Taken, serve};
use super::spool::{Arriving, store};

const MESSAGES: u64 = 60;

/// What the script does with a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    None,
    Loses,
    LosesOne,
    Doubles,
    Splits,
    Delays,
    Truncates,
    BareLineEnds,
    Folds,
    ChangesHeader,
    ChangesBody,
    Quotes,
    Encodes,
    AddsFields,
    Rewrites,
    Expands,
    Bounces,
}

const FAULTS: [Fault; 17] = [
    Fault::None,
    Fault::Loses,
    Fault::LosesOne,
    Fault::Doubles,
    Fault::Splits,
    Fault::Delays,
    Fault::Truncates,
    Fault::BareLineEnds,
    Fault::Folds,
    Fault::ChangesHeader,
    Fault::ChangesBody,
    Fault::Quotes,
    Fault::Encodes,
    Fault::AddsFields,
    Fault::Rewrites,
    Fault::Expands,
    Fault::Bounces,
];

/// Refuses one message in twelve.
fn refuses(seed: u64, number: u64) -> bool {
    fastrand::Rng::with_seed(seed << 20 | number).u8(..12) == 0
}

fn run(address: &str, seed: u64, dir: &Path) -> Run {
    let (engine, _) = engine::choose(Io::Auto).unwrap();
    let targets = Target::parse(address, &[]).unwrap().into();
    let cpus = host::allowed().unwrap().into_iter().take(2).collect();
    let content = Content {
        recipients: Spread::List(vec![(1, 3), (3, 1)]),
        to_domains: vec![("one.example".to_owned(), 1), ("two.example".to_owned(), 1)],
        seed,
        ..Content::plain(Spread::Even(900, 3_000), "a@client.example", "b@server.example")
    };
    let plan = Plan {
        connections: 3,
        stop: StopAfter::Messages(MESSAGES),
        out: Some(dir.to_owned()),
        ..Plan::new(targets, content, cpus, engine)
    };
    plan.check().unwrap();
    blast::run(&plan, Arc::new(AtomicBool::new(false)), &mut |_, _, _| ()).unwrap().run
}

/// Something that arrives, and what the ledger is told of it.
struct Event {
    arriving: Arriving,
    stamp: Stamp,
    to: Vec<To>,
    change: Option<&'static str>,
}

/// What a script makes of the messages that a server took.
#[derive(Default)]
struct Script {
    events: Vec<Event>,
    bounces: Vec<Arriving>,
    ledger: Ledger,
}

impl Script {
    fn take(&mut self, taken: &Taken, at_ns: u64, random: &mut fastrand::Rng) {
        let stamp = Stamp::find(&taken.octets).unwrap();
        let key = (stamp.core, stamp.seq);
        self.ledger.sent(key, taken.recipients.len(), taken.accepted);
        let fault = FAULTS[random.usize(..FAULTS.len())];
        let all: Vec<usize> = (0..taken.recipients.len()).collect();
        if !taken.accepted {
            // A server may deliver what it refused.
            if fault == Fault::Doubles {
                self.deliver(taken, stamp, at_ns, &all, (&taken.octets, None));
            }
            return;
        }
        let (changed, change) = changed(&taken.octets, fault);
        let as_sent = (changed.as_slice(), change);
        match fault {
            Fault::Loses => {}
            Fault::LosesOne => self.deliver(taken, stamp, at_ns, &all[1..], as_sent),
            Fault::Doubles => {
                self.deliver(taken, stamp, at_ns, &all, as_sent);
                self.deliver(taken, stamp, at_ns + 5_000_000, &all, as_sent);
            }
            Fault::Splits => {
                for (n, index) in all.into_iter().enumerate() {
                    let at_ns = at_ns + n as u64 * 7_000_000;
                    self.deliver(taken, stamp, at_ns, &[index], as_sent);
                }
            }
            Fault::Delays => self.deliver(taken, stamp, at_ns + 50_000_000, &all, as_sent),
            Fault::Rewrites | Fault::Expands => {
                let kept = if fault == Fault::Rewrites { &all[1..] } else { &all[..] };
                self.deliver_to(taken, stamp, at_ns, kept, Some("alias@real.example"), as_sent);
            }
            Fault::Bounces => {
                self.deliver(taken, stamp, at_ns, &all[1..], as_sent);
                self.bounce(taken, at_ns + 1_000_000);
                self.ledger.bounces(key, 0);
            }
            _ => self.deliver(taken, stamp, at_ns, &all, as_sent),
        }
    }

    fn deliver(
        &mut self,
        taken: &Taken,
        stamp: Stamp,
        at_ns: u64,
        to: &[usize],
        message: (&[u8], Option<&'static str>),
    ) {
        self.deliver_to(taken, stamp, at_ns, to, None, message);
    }

    fn deliver_to(
        &mut self,
        taken: &Taken,
        stamp: Stamp,
        at_ns: u64,
        to: &[usize],
        other: Option<&str>,
        (octets, change): (&[u8], Option<&'static str>),
    ) {
        if to.is_empty() && other.is_none() {
            return;
        }
        let mut recipients: Vec<_> =
            to.iter().map(|&index| taken.recipients[index].clone()).collect();
        recipients.extend(other.map(|other| other.as_bytes().to_vec()));
        let to = to.iter().map(|&index| To::Sent(index));
        let to = to.chain(other.map(|other| To::Other(other.to_owned()))).collect();
        let arriving = Arriving { at_ns, octets: octets.to_vec(), recipients };
        self.events.push(Event { arriving, stamp, to, change });
    }

    fn bounce(&mut self, taken: &Taken, at_ns: u64) {
        let header =
            String::from_utf8_lossy(&taken.octets[..header_end(&taken.octets)]).into_owned();
        let recipient = String::from_utf8_lossy(&taken.recipients[0]).into_owned();
        let octets = format!(
            "From: MAILER-DAEMON@mx.example\r\nTo: a@client.example\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=\"x\"\r\n\r\n\
             --x\r\nContent-Type: text/plain\r\n\r\nno\r\n\r\n\
             --x\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example\r\n\r\n\
             Final-Recipient: rfc822; {recipient}\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n\
             --x\r\nContent-Type: text/rfc822-headers\r\n\r\n{header}--x--\r\n"
        );
        let recipients = vec![b"a@client.example".to_vec()];
        self.bounces.push(Arriving { at_ns, octets: octets.into_bytes(), recipients });
    }
}

/// The message as the script delivers it, and which change that is.
fn changed(octets: &[u8], fault: Fault) -> (Vec<u8>, Option<&'static str>) {
    let end = header_end(octets);
    let header = String::from_utf8(octets[..end].to_vec()).unwrap();
    let body = &octets[end..];
    let with = |header: String, body: &[u8]| [header.as_bytes(), body].concat();
    let recoded = |name: &str, body: &[u8]| {
        with(header.replace("Encoding: 7bit", &format!("Encoding: {name}")), body)
    };
    match fault {
        Fault::Truncates => (with(header, &body[..body.len() / 2]), Some("truncated")),
        Fault::BareLineEnds => {
            let text = String::from_utf8(body.to_vec()).unwrap().replace("\r\n", "\n");
            (with(header, text.as_bytes()), Some("line_ends"))
        }
        Fault::Folds => (
            with(header.replace(" measure with", "\r\n measure with"), body),
            Some("header_folded"),
        ),
        Fault::ChangesHeader => {
            (with(header.replace("measure with", "look at twice"), body), Some("header"))
        }
        Fault::ChangesBody => {
            let mut other = body.to_vec();
            other[0] ^= 1;
            (with(header, &other), Some("body"))
        }
        Fault::Quotes => {
            let text = String::from_utf8(body.to_vec()).unwrap();
            let quoted = text.replace('e', "=65");
            (recoded("quoted-printable", quoted.as_bytes()), Some("recoded"))
        }
        Fault::Encodes => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(body);
            let lines: Vec<_> = encoded.as_bytes().chunks(76).collect();
            (
                recoded("base64", &[lines.join(&b"\r\n"[..]), b"\r\n".to_vec()].concat()),
                Some("recoded"),
            )
        }
        Fault::AddsFields => {
            let more = "X-Scanned: by mx.example\r\n\r\n";
            let header = header.strip_suffix("\r\n").unwrap().to_owned() + more;
            let before = "Received: from a by mx.example with ESMTP id 1;\r\n\t\
                          Tue, 14 Nov 2023 22:13:25 +0000\r\nReturn-Path: <a@client.example>\r\n";
            (with(before.to_owned() + &header, body), None)
        }
        _ => (octets.to_vec(), None),
    }
}

fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

fn check(seed: u64) {
    let dir = TempDir::new().unwrap();
    let (run_dir, spool) = (dir.path().join("run"), dir.path().join("spool"));
    let host = serve(refuses, seed);
    let run = run(&host.address.to_string(), seed, &run_dir);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut script = Script::default();
    let begun_ns = now_ns();
    for (n, taken) in host.taken.lock().unwrap().iter().enumerate() {
        script.take(taken, begun_ns + n as u64 * 1_000_000, &mut random);
    }
    let Script { mut events, bounces, mut ledger } = script;
    events.sort_by_key(|event| event.arriving.at_ns);
    for event in &events {
        let key = (event.stamp.core, event.stamp.seq);
        ledger.arrives(key, event.stamp.conn.unwrap(), &event.to, event.change);
    }
    let arriving = events.into_iter().map(|event| event.arriving).chain(bounces);
    let mut arriving: Vec<_> = arriving.collect();
    arriving.sort_by_key(|one| one.at_ns);
    store(&spool, &arriving, 8);
    let sent = [SentRun::open(&run_dir).unwrap()];
    let joined = join_once(&sent, &[spool], &JoinOptions::default()).unwrap();
    let told = format!("seed {seed}");
    ledger.check(&joined.result, &told);
    let counts = &joined.result.messages.counts;
    assert_eq!((counts.sent, counts.accepted), (MESSAGES, run.counts.messages_ok), "{told}");
    assert_eq!(joined.result.others, 0, "{told}");
    assert!(joined.result.delivery_min_ns > Some(0), "{told}");
}

#[test]
fn the_report_counts_what_the_script_did() {
    let seeds = std::env::var("DELIVERY_SEEDS").map_or(20, |text| text.parse().expect("a number"));
    (1..=seeds).for_each(check);
}

#[test]
fn a_ring_that_recycled_and_a_sink_that_kept_nothing_lose_no_message() {
    let dir = TempDir::new().unwrap();
    let (run_dir, spool) = (dir.path().join("run"), dir.path().join("spool"));
    let host = serve(|_, _| false, 0);
    let run = run(&host.address.to_string(), 1, &run_dir);
    let taken = host.taken.lock().unwrap().clone();
    let begun_ns = now_ns();
    // Before the last ten comes so much else that a ring of four segments holds none of the others.
    let other =
        Arriving { at_ns: begun_ns, octets: vec![b'x'; 512 * 1024], recipients: Vec::new() };
    let (first, last) = taken.split_at(50);
    let arrive = |(n, taken): (usize, &Taken)| Arriving {
        at_ns: begun_ns + n as u64,
        octets: taken.octets.clone(),
        recipients: taken.recipients.clone(),
    };
    let mut arriving: Vec<_> = first.iter().enumerate().map(arrive).collect();
    arriving.extend(std::iter::repeat_n(other, 16));
    arriving.extend(last.iter().enumerate().map(arrive));
    store(&spool, &arriving, 4);
    let sent = [SentRun::open(&run_dir).unwrap()];
    let recipients = |taken: &[Taken]| taken.iter().map(|one| one.recipients.len() as u64).sum();
    let joined = join_once(&sent, &[spool], &JoinOptions::default()).unwrap();
    let counts = joined.result.deliveries.counts;
    assert_eq!((counts.delivered, counts.lost), (recipients(last), 0));
    assert_eq!(counts.unknown, recipients(first));
    let options = JoinOptions { not_kept: vec!["one.example".to_owned()], ..Default::default() };
    let joined = join(&sent, &[], &options, Duration::ZERO).unwrap();
    let counts = joined.result.deliveries.counts;
    assert_eq!(counts.lost + counts.unknown, run.counts.recipients);
    let of = |name: &str| {
        joined.result.domains.iter().find(|split| split.name == name).unwrap().part.counts
    };
    assert_eq!((of("one.example").lost, of("two.example").unknown), (0, 0));
    assert!(of("two.example").lost > 0 && of("one.example").unknown > 0);
}
