//! A statement that changes something, and the same without its audit event.

/// A change with its audit event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change(pub(super) &'static str);

impl Change {
    /// The statement as it is.
    pub(super) fn with_event(self) -> &'static str {
        self.0
    }

    /// The statement without what stands between the lines `-- outbox:` and `-- :outbox`: what is done where the outbox
    /// cannot be written. It takes the same parameters.
    pub(super) fn alone(self) -> String {
        let mut in_outbox = false;
        let mut lines = Vec::new();
        for line in self.0.lines() {
            match line.trim() {
                "-- outbox:" => in_outbox = true,
                "-- :outbox" => in_outbox = false,
                _ if !in_outbox => lines.push(line),
                _ => {}
            }
        }
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{due, schedules};

    #[test]
    fn what_is_left_without_the_outbox_does_not_name_it() {
        for change in [schedules::CREATE, schedules::CANCEL, due::RECORD] {
            assert!(change.with_event().contains("insert into audit_outbox"));

            let alone = change.alone();

            assert!(!alone.contains("outbox"), "{alone}");
            assert!(alone.contains("feature_flag_schedules"), "{alone}");
        }
    }
}
