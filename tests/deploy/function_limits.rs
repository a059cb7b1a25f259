//! Times: they nest, each inside the next larger one.

use std::time::Duration;

use flag_schedules::adapters::postgres::retry::STATEMENT_LIMIT;
use flag_schedules::processor::{RESERVE, WATCH_TIME};
use serde_json::json;

use super::deployed::deployed;
use super::guide::document;
use super::template::{Function, functions, resource};

/// API Gateway gives up on a function after this long.
const GATEWAY: Duration = Duration::from_secs(30);
/// Where an HTTP handler has its limits.
const RESPOND: &str = "shared/src/lambda/respond.rs";
/// From one tick to the next.
const TICK: Duration = Duration::from_secs(60);

fn timeout(function: &Function) -> Duration {
    let seconds = function.properties["Timeout"].as_u64();
    Duration::from_secs(seconds.unwrap_or_else(|| panic!("{} has no timeout", function.binary)))
}

#[test]
fn an_http_function_has_more_time_than_its_handler_and_that_more_than_a_statement() {
    let handler = constant_of(RESPOND, "HANDLER_LIMIT");
    assert!(
        handler > STATEMENT_LIMIT,
        "{handler:?} is not above {STATEMENT_LIMIT:?}, what a statement may take"
    );
    // What follows the answer may take what is left: an event that is not delivered then waits for the sweep.
    let own = handler
        + constant_of(RESPOND, "RESPONSE_RESERVE")
        + constant_of("shared/src/lambda/extension.rs", "FLUSH_RESERVE");
    for (name, function) in functions().into_iter().filter(|(_, function)| function.is_http()) {
        let timeout = timeout(&function);
        assert!(timeout > own, "{name}: {timeout:?} is not above {own:?}, what the handler may take");
        assert!(timeout < GATEWAY, "{name}: {timeout:?} is not below {GATEWAY:?}, what API Gateway waits");
    }
}

#[test]
fn a_tick_waits_until_the_next_one_has_taken_over() {
    let processor = &functions()["schedule-processor"];
    let events = processor.properties["Events"].as_object().map_or(0, serde_json::Map::len);
    let schedules = processor.events("Schedule");

    let [schedule] = schedules[..] else { panic!("not one schedule: {schedules:?}") };
    assert_eq!(schedule["Schedule"], "rate(1 minute)");
    assert_ne!(schedule["Enabled"], false);
    assert_ne!(schedule["State"], "DISABLED");
    assert_eq!(events, 1, "nothing else starts the processor");
    let timeout = timeout(processor);
    assert!(WATCH_TIME > TICK, "{WATCH_TIME:?} is not above {TICK:?}");
    // What follows the waiting has the time of a call to a slow log.
    let call = constant_of("shared/src/adapters/cloudwatch.rs", "CALL_LIMIT");
    let needed = WATCH_TIME + call + Duration::from_secs(1);
    assert!(timeout > needed, "{timeout:?} is not above {needed:?}: waiting, and a call to a slow log");
    assert!(timeout > WATCH_TIME + RESERVE, "{timeout:?} is not above {WATCH_TIME:?} and {RESERVE:?}");
    // A tick that waits, the next one, and one that is stuck.
    assert!(timeout < TICK * 2, "{timeout:?} is not below two minutes: three ticks would be at work");
    let deployed = deployed(&[]);
    assert_eq!(deployed.function("schedule-processor")["ReservedConcurrentExecutions"], "3");
}

#[test]
fn cloudformation_waits_for_a_migration_longer_than_it_can_take() {
    let migrate = &functions()["migrate"];

    let waits = &resource("MigratedSchema")["Properties"]["ServiceTimeout"];

    let waits = Duration::from_secs(waits.as_u64().unwrap_or_else(|| panic!("no ServiceTimeout: {waits}")));
    assert!(waits > timeout(migrate), "{waits:?} is not above {:?}", timeout(migrate));
}

#[test]
fn a_migration_that_is_given_up_leaves_time_for_the_answer() {
    let reserve = constant_of("functions/migrate/src/lib.rs", "ANSWER_RESERVE");
    let cancel = constant_of("shared/src/adapters/postgres/migrate/mod.rs", "CANCEL_LIMIT");
    let answer = constant_of("shared/src/adapters/https.rs", "LIMIT");
    assert!(reserve > cancel + answer, "{reserve:?} is not above {cancel:?} and {answer:?}");
    let timeout = timeout(&functions()["migrate"]);
    assert!(timeout > reserve * 10, "{timeout:?} is hardly above {reserve:?}");
    // A database that comes up late is migrated all the same.
    let retry = constant_of("shared/src/adapters/postgres/migrate/connect.rs", "RETRY_LIMIT");
    assert!(timeout > reserve + retry * 2, "{retry:?} of waiting leave little of {timeout:?}");
}

#[test]
fn a_failed_tick_is_not_repeated_but_kept_for_people_to_look_at() {
    let deployed = deployed(&[]);
    let configs = deployed.all("AWS::Lambda::EventInvokeConfig");
    let queue = json!({"Fn::GetAtt": ["FailedTicks", "Arn"]});

    let [config] = configs.values().collect::<Vec<_>>()[..] else { panic!("not one: {configs:#?}") };
    assert_eq!(config["FunctionName"], json!({"Ref": "ScheduleProcessorFunction"}));
    assert_eq!(
        (&config["MaximumRetryAttempts"], &config["MaximumEventAgeInSeconds"]),
        (&json!(0), &json!(60))
    );
    assert_eq!(config["DestinationConfig"]["OnFailure"]["Destination"], queue);
    // What EventBridge cannot deliver within the minute is the next tick's to do.
    let targets = &deployed.properties("ScheduleProcessorFunctionTick")["Targets"];
    assert_eq!(targets.as_array().map(Vec::len), Some(1), "{targets}");
    assert_eq!(targets[0]["RetryPolicy"]["MaximumEventAgeInSeconds"], 60);
    assert_eq!(targets[0]["DeadLetterConfig"]["Arn"], queue);
    assert_eq!(deployed.properties("FailedTicks")["SqsManagedSseEnabled"], true);
}

/// One of the times in a file, which are nobody else's business.
fn constant_of(file: &str, name: &str) -> Duration {
    let source = document(file);
    let start = format!("const {name}: Duration = Duration::");
    let value = source.lines().find_map(|line| line.trim().strip_prefix(&start));
    let value = value.unwrap_or_else(|| panic!("there is no {name} in {file}"));
    let (unit, number) = value.trim_end_matches(");").split_once('(').unwrap_or_default();
    let number = number.parse().unwrap_or_else(|error| panic!("{name} is {value}: {error}"));
    match unit {
        "from_secs" => Duration::from_secs(number),
        "from_millis" => Duration::from_millis(number),
        _ => panic!("{name} is {value}"),
    }
}
