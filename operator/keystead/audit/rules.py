"""What a journal waits for, how long and for how many bytes. Made by app (auditing.py), which takes two of them from the settings.

reading/verify.py looks at how soon a checkpoint comes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Seconds and bytes.

    sync                whether the operations of the table wait for their records; else all are buffered
    buffer_seconds      a buffered record is written after this long at the latest, or when `buffer_bytes` wait
    stall_seconds       a sink that has not acknowledged for so long is away: below 1 s, so that no caller waits longer for the refusal
    retry_seconds       until a batch that failed is brought again
    checkpoint_seconds  after the first record since the last checkpoint
    sign_seconds        what a signature may hold the lines up; one that takes longer is left out, and tried again after `again_seconds`
    end_seconds         what the last one may take: nobody waits then, and the token's process may have to be started for it
    most_waiting        bytes of records that wait; beyond, it stops, and beyond twice as much a record is lost
    close_seconds       what the last lines may take
    """

    sync: bool = True
    buffer_seconds: float = 0.2
    buffer_bytes: int = 1024 * 1024
    stall_seconds: float = 0.8
    retry_seconds: float = 0.2
    checkpoint_seconds: float = 10.0
    sign_seconds: float = 0.2
    again_seconds: float = 1.0
    end_seconds: float = 3.0
    most_waiting: int = 16 * 1024 * 1024
    close_seconds: float = 4.0
