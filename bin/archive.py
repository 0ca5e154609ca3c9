"""`plyr archive COMMAND`: everything that happened, sealed in Parquet files."""

from __future__ import annotations

from bin.command import OF_ARCHIVE, OF_DATABASE, Command

COMMANDS = {
    "status": Command(
        "bin.archive_status", "say what the archive holds, and check it", True, "there", OF_ARCHIVE
    ),
    "seal": Command(
        "bin.archive_seal", "put what waits into a file now", True, "there", (*OF_ARCHIVE, "seal_entries")
    ),
    "sql": Command(
        "bin.archive_sql", "ask the archive: DuckDB over the table `event`", True, "there", OF_ARCHIVE
    ),
    "dump": Command(
        "bin.archive_dump",
        "write every visible record into one Parquet file",
        True,
        "there",
        (*OF_DATABASE, "namespace", "dump_dir"),
    ),
    "adopt": Command(
        "bin.archive_adopt",
        "take the files in the folder into a database that lost them",
        True,
        "migrated",
        OF_ARCHIVE,
    ),
}
