//! A full disk, for one table: its file leads to `/dev/full`, where the kernel says that there is no space left.
//!
//! The server then meets a full disk's own error (SQLSTATE 53100) whenever the table has to grow. No file system has to
//! be mounted for it, and nothing else on the machine runs out of space.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::database::Database;

/// On Linux, a device without space, for everybody.
const FULL: &str = "/dev/full";

/// A table whose disk is full.
#[derive(Debug)]
pub struct FullDisk {
    table: String,
    file: PathBuf,
    aside: PathBuf,
}

impl FullDisk {
    /// From now on there is no space for this table, which must be empty. Connections that have its file open already
    /// do not notice.
    pub async fn under(database: &Database, table: &str) -> Self {
        let sql = "select current_setting('data_directory'), pg_relation_filepath($1::text::regclass),
                pg_relation_size($1::text::regclass)";
        let client = database.connect_as_superuser().await;
        let row = client.query_one(sql, &[&table]).await.unwrap_or_else(|error| panic!("{table}: {error}"));
        assert_eq!(row.get::<_, i64>(2), 0, "{table} must be empty: what is in it would be out of sight");
        let file = Path::new(row.get::<_, &str>(0)).join(row.get::<_, &str>(1));
        let aside = file.with_extension("aside");
        let replaced = std::fs::rename(&file, &aside).and_then(|()| symlink(FULL, &file));
        replaced.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { table: table.to_owned(), file, aside }
    }

    /// There is space again.
    pub async fn free(self, database: &Database) {
        let restored = std::fs::rename(&self.aside, &self.file);
        restored.unwrap_or_else(|error| panic!("{}: {error}", self.file.display()));
        // Gives the table another file, so that connections let go of the one that they have open.
        let sql = format!("vacuum full {}", self.table);
        let client = database.connect_as_superuser().await;
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
