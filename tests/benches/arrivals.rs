//! The audit events that have arrived in CloudWatch Logs, compared with what has happened according to the database. They are
//! kept in a file, so that a long run needs no more memory than a short one.

use std::fs::File;
use std::io::{BufWriter, Read, Write};

use futures_util::SinkExt;
use harness::cloudwatch::CloudWatch;
use harness::scratch::Scratch;
use hyper::body::Bytes;
use tokio_postgres::Client;

const CHUNK: u64 = 64 * 1024;
const ARRIVALS: &str = "create table arrivals (schedule_id uuid, event_type text)";
const COMPARISON: &str = "
    with transitions as (
        select id as schedule_id, 'flag_schedule.created' as event_type from feature_flag_schedules
        union all
        select id, 'flag_schedule.applied' from feature_flag_schedules where status = 'applied'
    ),
    arrived as (select schedule_id, event_type, count(*) as times from arrivals group by schedule_id, event_type)
    select
        count(t.schedule_id) as transitions,
        count(*) filter (where a.schedule_id is null) as lost,
        count(*) filter (where t.schedule_id is null) as unknown,
        coalesce(sum(a.times - 1), 0)::bigint as duplicates
    from transitions t
    full join arrived a on a.schedule_id = t.schedule_id and a.event_type = t.event_type";

pub struct Arrivals {
    scratch: Scratch,
    file: BufWriter<File>,
}

/// What there is in the database and in CloudWatch Logs.
pub struct Comparison {
    /// Schedules created, and those applied.
    pub transitions: i64,
    /// Of those, the ones without an event.
    pub lost: i64,
    /// Events of nothing that has happened.
    pub unknown: i64,
    /// Events that have arrived before.
    pub duplicates: i64,
}

impl Arrivals {
    pub fn none() -> Self {
        let scratch = Scratch::create(None).unwrap_or_else(|error| panic!("{error}"));
        let file = File::create(scratch.path().join("events")).expect("a file");
        Self { scratch, file: BufWriter::new(file) }
    }

    /// Takes the events that have arrived since the last time.
    pub fn take_from(&mut self, cloudwatch: &CloudWatch) {
        for event in cloudwatch.take_stored() {
            let event = event.json();
            let text = |name: &str| event[name].as_str().expect("an event has it").to_owned();
            writeln!(self.file, "{}\t{}", text("schedule_id"), text("event_type"))
                .expect("a file takes lines");
        }
    }

    pub async fn compare(mut self, client: &Client) -> Comparison {
        self.file.flush().expect("a file takes lines");
        client.batch_execute(ARRIVALS).await.expect("a table");
        let sink = client.copy_in("copy arrivals from stdin").await.expect("a copy");
        let mut sink = std::pin::pin!(sink);
        let mut file = File::open(self.scratch.path().join("events")).expect("a file");
        loop {
            let mut chunk = Vec::new();
            Read::by_ref(&mut file).take(CHUNK).read_to_end(&mut chunk).expect("a file can be read");
            if chunk.is_empty() {
                break;
            }
            sink.send(Bytes::from(chunk)).await.expect("the server takes rows");
        }
        sink.finish().await.expect("the server takes rows");
        let row = client.query_one(COMPARISON, &[]).await.expect("a comparison");
        Comparison {
            transitions: row.get("transitions"),
            lost: row.get("lost"),
            unknown: row.get("unknown"),
            duplicates: row.get("duplicates"),
        }
    }
}
