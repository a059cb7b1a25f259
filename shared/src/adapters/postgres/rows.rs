//! Reads columns, accepting every value that their types allow.

use std::time::Duration;

use bytes::BytesMut;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, Json, ToSql, Type, accepts, to_sql_checked};

use crate::domain::schedule::{Schedule, StoredUpdates};
use crate::domain::time::{StoredMicros, Timestamp};
use crate::error::BoxError;
use crate::ports::store_error::StoreError;

pub(super) fn field<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Internal(error.into()))
}

/// `None` if the statement returned no document.
pub(super) fn schedule(row: &Row, column: &str) -> Result<Option<Schedule>, StoreError> {
    match row.try_get::<_, Option<Json<Schedule>>>(column) {
        Ok(schedule) => Ok(schedule.map(|Json(schedule)| schedule)),
        Err(error) => {
            let document = row.try_get::<_, Json<Value>>(column);
            let id = document.ok().and_then(|Json(document)| document["id"].as_str().map(str::to_owned));
            Err(StoreError::Corrupt {
                table: "feature_flag_schedules",
                column: "one of its columns",
                id: id.unwrap_or_else(|| "of an unknown id".to_owned()),
                source: error.into(),
            })
        }
    }
}

pub(super) fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or_default()
}

pub(super) fn duration(seconds: Option<f64>) -> Duration {
    Duration::try_from_secs_f64(seconds.unwrap_or_default().max(0.0)).unwrap_or(Duration::MAX)
}

/// The columns of a row, one after the other. By name, a row of many would be searched for each of them.
pub(super) struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    pub(super) fn next<T: FromSql<'a>>(&mut self) -> Result<T, StoreError> {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|error| StoreError::Internal(error.into()))
    }
}

/// JSON as the server sends it, even if this release cannot parse it: a number may be too large, the nesting too
/// deep.
pub(super) struct RawJson<'a>(pub(super) &'a str);

impl<'a> FromSql<'a> for RawJson<'a> {
    fn from_sql(of_type: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        // `jsonb` starts with a version byte.
        let text = if *of_type == Type::JSONB { raw.get(1..).unwrap_or_default() } else { raw };
        Ok(Self(std::str::from_utf8(text)?))
    }

    accepts!(JSON, JSONB);
}

impl<'a> FromSql<'a> for StoredMicros {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(TIMESTAMPTZ);
}

/// The nearest time that can be shown.
impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(of_type: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        let StoredMicros(micros) = StoredMicros::from_sql(of_type, raw)?;
        Ok(Self::from_postgres_micros(micros))
    }

    accepts!(TIMESTAMPTZ);
}

/// Every value is readable.
impl<'a> FromSql<'a> for StoredUpdates {
    fn from_sql(of_type: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        let RawJson(json) = RawJson::from_sql(of_type, raw)?;
        Ok(Self::parse(json))
    }

    accepts!(JSON, JSONB);
}

/// The `ctid` of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place([u8; 6]);

impl<'a> FromSql<'a> for Place {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(raw.try_into()?))
    }

    accepts!(TID);
}

impl ToSql for Place {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    accepts!(TID);
    to_sql_checked!();
}

impl ToSql for StoredMicros {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMPTZ);
    to_sql_checked!();
}
