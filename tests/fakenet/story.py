"""What happens in one small world, on a seed: residents write, move, change keys and names, leave, come
back; their hosts lie and fall silent; the relay loses, doubles and mixes up what it is told.

    story = Story(seed, plc, [pds, pds], relay, listing)
    story.begin()                      # a past that the relay never carried
    for _ in range(2000): story.step()
    story.end()                        # every host tells the truth again; nobody writes any more

The same seed tells the same story, whatever its readers do. `acts` counts what was done, the servers
and the channel count the faults that they made.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence

from tests.fakenet.authoring import many_writes, poison, rkey, some_writes
from tests.fakenet.channel import Channel
from tests.fakenet.pds import GET_REPO, FakePds
from tests.fakenet.plc import FakePlc
from tests.fakenet.relay import FakeRelay
from tests.fakenet.repo import START_US, FakeRepo, fake_did
from tests.fakenet.resident import OURS, Path, Resident, Writes
from tests.fakenet.server import Fault
from tests.fakenet.world import POST, PROFILE, TRACK, WHEN, track

ACTS: dict[str, int] = {
    "write": 880,
    "import": 2,
    "empty commit": 4,
    "write unseen, then sync": 5,
    "poison record": 10,
    "poison frame": 25,
    "newcomer": 5,
    "rotate key": 5,
    "rename": 5,
    "take a handle": 3,
    "migrate": 5,
    "old host's word": 6,
    "deactivate": 4,
    "take down": 2,
    "throttle": 2,
    "come back": 8,
    "false alarm": 3,
    "delete": 2,
    "recreate": 4,
    "old deletion again": 1,
    "tombstone": 1,
    "blind": 2,
    "offline": 2,
    "host away": 2,
    "stale": 4,
    "cut": 1,
    "reset": 1,
}
WRITES_ON = "an old host writes on"
# What a reader of the stream alone can follow to the end: nothing is lost, and nobody is to be asked.
STREAMED = ("write", "import", "empty commit", "poison record", "newcomer", "rename")


class Story:
    def __init__(
        self,
        seed: int,
        plc: FakePlc,
        hosts: Sequence[FakePds],
        relay: FakeRelay,
        listing: FakePds,
        *,
        residents: int = 10,
        streamed: bool = False,
    ) -> None:
        """`streamed`: nothing happened before the stream began, and nothing on it gets lost."""
        self.seed = seed
        self.acts: Counter[str] = Counter()
        self.residents: list[Resident] = []
        self.events = 0
        self.relay = relay
        self.hosts = hosts
        self._acts = {act: weight for act, weight in ACTS.items() if act in STREAMED or not streamed}
        self._streamed = streamed
        chance = random.Random(f"{seed} channel")
        self.channel = Channel(relay, chance, gap=0) if streamed else Channel(relay, chance)
        self._chance = random.Random(f"{seed} story")
        self._plc = plc
        self._listing = listing  # all that the relay has heard of
        self._count = residents
        self._clock_us = START_US
        self._until: list[tuple[int, Callable[[], None]]] = []  # the ends of what lasts a while
        self._quiet = False
        for host in hosts:
            host.chance = self._host_fault

    # -- the beginning, each step, and the end

    def begin(self) -> None:
        """Everybody has a past that no stream carries; some have nothing to do with us."""
        for n in range(0 if self._streamed else self._count):
            resident = self._arrive()
            resident.hermit = n % 5 == 3
            first: Writes = [("create", PROFILE, "self", {"$type": PROFILE, "createdAt": WHEN})]
            if n % 5 == 4:
                first = [("create", POST, "first", {"$type": POST, "text": "hi", "createdAt": WHEN})]
            resident.write(first, self._now())
            for _ in range(self._chance.randrange(3)):
                self._commit_silently(resident)

    def step(self) -> None:
        """One thing happens."""
        self.events += 1
        for at, undo in [each for each in self._until if each[0] <= self.events]:
            self._until.remove((at, undo))
            undo()
        act = self._chance.choices(list(self._acts), list(self._acts.values()))[0]
        if _DO[act](self):
            self.acts[act] += 1

    def end(self) -> None:
        """No more faults, and a last act that no stream tells of. Some who were away are back, and not all
        of them are announced. Deletions are announced once more, as hosts do when a relay asks; old hosts
        have the last word."""
        for _, undo in self._until:
            undo()
        self._until.clear()
        self._quiet = True
        self.channel.calm()
        for resident in self.residents:
            if not self._streamed and resident.status is None:
                self._act_unseen(resident)
            elif resident.status is not None and not resident.gone and self._chance.random() < 0.5:
                self._set_status(resident, None, tell=self._chance.random() < 0.5)
            if resident.status == "deleted":
                self.channel.send("#account", resident.repo.account_body(False, "deleted"), sure=True)
            elif resident.old_hosts and not resident.gone:
                self.channel.send("#account", resident.repo.account_body(False, "deactivated"), sure=True)

    def _now(self) -> int:
        self._clock_us += self._chance.randint(1000, 5_000_000)
        return self._clock_us

    def _host_fault(self, nsid: str, did: str | None, n: int) -> Fault | None:
        """By the request, and not by the moment of it; the first answers are the worst."""
        if self._quiet or self._streamed:
            return None
        dice = random.Random(hashlib.sha256(f"{self.seed} {nsid} {did} {n}".encode()).digest())
        if dice.random() > 0.35 / (1 + n // 4):
            return None
        if nsid == GET_REPO:
            return dice.choice(tuple(Fault))
        return dice.choice((Fault.RETRY_AFTER, Fault.UNAVAILABLE, Fault.HTML_200, Fault.CUT, Fault.SLOW))

    # -- residents

    def _arrive(self) -> Resident:
        name = f"r{len(self.residents)}.w{self.seed}"
        repo = FakeRepo(fake_did(name), seed=f"{name} 0", handle=f"{name}.test")
        resident = Resident(name, repo, self._chance.choice(self.hosts))
        resident.pds.host(repo)
        self._plc.publish(repo, resident.pds.origin)
        self._listing.host(repo)
        self.residents.append(resident)
        return resident

    def _some(self, wanted: Callable[[Resident], bool]) -> Resident | None:
        found = [resident for resident in self.residents if not resident.hermit and wanted(resident)]
        return self._chance.choice(found) if found else None

    def _active(self) -> Resident:
        found = self._some(lambda r: r.status is None)
        return self._arrive() if found is None else found

    def _set_status(self, resident: Resident, status: str | None, *, tell: bool = True) -> None:
        resident.status = status
        resident.pds.set_status(resident.did, status)
        if tell:
            self.channel.send("#account", resident.repo.account_body(status is None, status))

    def _tell_identity(self, resident: Resident) -> None:
        claimed = resident.repo.handle if self._chance.random() < 0.5 else None
        self.channel.send("#identity", resident.repo.identity_body(claimed), sure=True)

    def _act_unseen(self, resident: Resident) -> None:
        """Nothing more is ever heard of this account: only who asks its hosts will know."""
        act = self._chance.choices(("rest", "write", "move", "leave", "new key"), (55, 25, 8, 6, 6))[0]
        self.acts[f"last: {act}"] += 1
        if act == "write":
            self._commit_silently(resident)
        elif act == "move":
            ghost = self._move(resident)
            if ghost is not None:
                self.channel.send("#commit", ghost, sure=True)
            if self._chance.random() < 0.5:
                self._commit_silently(resident)
        elif act == "leave":
            self._set_status(resident, "deactivated", tell=False)
        elif act == "new key":
            self._new_key(resident)
            self._commit_silently(resident)

    # -- writing

    def _commit_silently(self, resident: Resident) -> None:
        writes = some_writes(resident, self.residents, self._chance, self._chance.randint(1, 4))
        resident.write(writes, self._now())

    def _write(self) -> bool:
        resident = self._active()
        writes = some_writes(resident, self.residents, self._chance, self._chance.choice((1, 1, 1, 2, 3)))
        self.channel.send("#commit", resident.write(writes, self._now()))
        return True

    def _import(self) -> bool:
        resident = self._active()
        writes = many_writes(resident, self.residents, self._chance)
        self.channel.send("#commit", resident.write(writes, self._now()))
        return True

    def _empty(self) -> bool:
        resident = self._active()
        self.channel.send("#commit", resident.write([], self._now()))
        return True

    def _unseen(self) -> bool:
        """A host that writes without saying so, and then tells where the repo stands."""
        resident = self._active()
        self._commit_silently(resident)
        self.channel.send("#sync", resident.repo.sync_body())
        return True

    def _poison_record(self) -> bool:
        resident = self._active()
        collection, record, valid = poison(self._chance, resident.uri(TRACK, rkey(0)))
        path: Path = (collection, rkey(self._chance.randrange(100, 120)))
        action = "update" if path in resident.records else "create"
        writes: Writes = [(action, *path, record)]
        self.channel.send("#commit", resident.write(writes, self._now(), [] if valid else [path]))
        return True

    def _poison_frame(self) -> bool:
        resident = self._active()
        before = resident.repo.frozen()
        writes: Writes = [
            ("create", POST, f"p{self.events}", {"$type": POST, "text": "!", "createdAt": WHEN})
        ]
        if (TRACK, rkey(500)) not in resident.records:
            writes.append(("create", TRACK, rkey(500), track("Poisoned well")))
        body = resident.write(writes, self._now())
        forger = FakeRepo(resident.did, seed="forger")
        forgery = forger.write([("create", TRACK, rkey(600), track("Forged"))], self._clock_us)
        self.channel.poison(before, body, forgery)
        if self._chance.random() < 0.5:  # otherwise the honest one never comes
            self.channel.send("#commit", body)
        return True

    def _newcomer(self) -> bool:
        resident = self._arrive()
        self._tell_identity(resident)
        if self._chance.random() < 0.5 and not self._streamed:  # at home elsewhere until now
            for n in range(self._chance.randrange(4)):
                resident.write(
                    [("create", POST, f"p{n}", {"$type": POST, "text": "hi", "createdAt": WHEN})], self._now()
                )
        writes = some_writes(resident, self.residents, self._chance, 3)
        self.channel.send("#commit", resident.write(writes, self._now()))
        return True

    # -- names, keys and places

    def _rotate(self) -> bool:
        """With a commit at once: nobody could verify a repo whose newest one has the old key's signature."""
        resident = self._active()
        self._new_key(resident)
        body = resident.write([], self._now())
        self._tell_identity(resident)
        self.channel.send("#commit", body)
        return True

    def _new_key(self, resident: Resident) -> None:
        resident.keys += 1
        curve = self._chance.choice(("k256", "p256"))
        resident.repo.rotate_key(f"{resident.name} {resident.keys}", curve)
        self._publish(resident)

    def _publish(self, resident: Resident) -> None:
        """Its document anew. Its handle leads to whom it led before."""
        self._plc.publish(resident.repo, resident.pds.origin, resolves=False)

    def _rename(self) -> bool:
        resident = self._active()
        old = resident.repo.handle
        if self._plc.handles.get(old) == resident.did:
            del self._plc.handles[old]
        resident.repo.handle = f"n{self.events}.{resident.name}.test"
        self._plc.publish(resident.repo, resident.pds.origin)
        self._tell_identity(resident)
        return True

    def _take_handle(self) -> bool:
        """Somebody else's handle leads to this resident from now on, and the loser is not told."""
        resident = self._active()
        loser = self._some(lambda r: r is not resident and self._plc.handles.get(r.repo.handle) == r.did)
        if loser is None:
            return False
        if self._plc.handles.get(resident.repo.handle) == resident.did:
            del self._plc.handles[resident.repo.handle]
        resident.repo.handle = loser.repo.handle
        self._plc.publish(resident.repo, resident.pds.origin)
        self._tell_identity(resident)
        return True

    def _migrate(self) -> bool:
        """To another host, which numbers the account's commits on; the old one keeps what it had."""
        resident = self._active()
        ghost = self._move(resident)
        words = [
            ("#identity", resident.repo.identity_body()),
            ("#account", resident.repo.account_body(True)),
            ("#account", resident.repo.account_body(False, "deactivated")),
            ("#sync", resident.repo.sync_body()),
            ("#commit", self._move_commit(resident)),
        ]
        if ghost is not None:
            words.append(("#commit", ghost))
        self._chance.shuffle(words)
        for kind, body in words:
            self.channel.send(kind, body, sure=kind == "#identity")
        return True

    def _move(self, resident: Resident) -> dict[str, object] | None:
        """The new host signs what it imported with its own key, or has the old one's. Gives what the old host
        wrote after the export, if anything."""
        old = resident.pds
        new = self._chance.choice([host for host in self.hosts if host is not old])
        kept = resident.repo.frozen()
        self._set_host(resident, new)
        old.host(kept, "deactivated")
        resident.old_hosts = [host for host in (*resident.old_hosts, old) if host is not new]
        if self._chance.random() < 0.7:
            self._new_key(resident)
            resident.write([], self._now())
        else:
            self._publish(resident)
        return self._write_on(kept) if self._chance.random() < 0.5 else None

    def _write_on(self, kept: FakeRepo) -> dict[str, object]:
        """What nobody will know of whom the account is at home with now."""
        self.acts[WRITES_ON] += 1
        tracks = [path.partition("/")[2] for path, _ in kept.listing() if path.startswith(f"{TRACK}/")]
        writes: Writes = [("create", TRACK, rkey(700 + self.acts[WRITES_ON]), track("Ghost"))]
        writes += [("update", TRACK, tracks[0], track("Ghostly"))] if tracks else []
        writes += [("delete", TRACK, tracks[-1], None)] if len(tracks) > 1 else []
        return kept.write(writes, self._now())

    def _move_commit(self, resident: Resident) -> dict[str, object]:
        return resident.write(some_writes(resident, self.residents, self._chance, 2), self._now())

    def _set_host(self, resident: Resident, host: FakePds) -> None:
        resident.pds = host
        host.host(resident.repo)

    def _old_word(self) -> bool:
        """An old host says what is no business of its any more (trap T7)."""
        resident = self._some(lambda r: bool(r.old_hosts) and not r.gone)
        if resident is None:
            return False
        status = self._chance.choice(("deactivated", "deleted", "takendown"))
        if status == "deleted":
            for host in resident.old_hosts:
                host.drop(resident.did)
        self.channel.send("#account", resident.repo.account_body(False, status))
        return True

    # -- standing

    def _deactivate(self) -> bool:
        self._set_status(self._active(), "deactivated")
        return True

    def _take_down(self) -> bool:
        self._set_status(self._active(), self._chance.choice(("takendown", "suspended")))
        return True

    def _throttle(self) -> bool:
        """Statuses that hide nothing, one of which nobody knows (trap T8)."""
        resident = self._active()
        status = self._chance.choice(("throttled", "desynchronized", "pondering"))
        resident.pds.set_status(resident.did, status)
        self.channel.send("#account", resident.repo.account_body(True, status))
        return True

    def _come_back(self) -> bool:
        resident = self._some(lambda r: r.status is not None and not r.gone)
        if resident is None:
            return False
        self._set_status(resident, None)
        return True

    def _false_alarm(self) -> bool:
        """The relay is wrong about an account that is well (trap T11)."""
        resident = self._active()
        self.channel.send("#account", resident.repo.account_body(False, "deactivated"))
        return True

    def _delete(self) -> bool:
        resident = self._active()
        self._forget(resident, "deleted")
        if self._chance.random() < 0.5:
            self.channel.purge(resident.did)
        self.channel.send("#account", resident.repo.account_body(False, "deleted"), sure=True)
        return True

    def _tombstone(self) -> bool:
        resident = self._active()
        self._forget(resident, "tombstoned")
        self._plc.tombstone(resident.did)
        self.channel.send("#identity", resident.repo.identity_body(), sure=True)
        if self._chance.random() < 0.5:
            self.channel.send("#account", resident.repo.account_body(False, "deleted"))
        return True

    def _forget(self, resident: Resident, status: str) -> None:
        resident.status = status
        resident.records.clear()
        for host in (resident.pds, self._listing, *resident.old_hosts):
            host.drop(resident.did)
        resident.old_hosts.clear()

    def _recreate(self) -> bool:
        """The same DID begins anew, with an empty repo."""
        resident = self._some(lambda r: r.status == "deleted")
        if resident is None:
            return False
        resident.keys += 1
        resident.lives += 1
        resident.repo = FakeRepo(
            resident.did, seed=f"{resident.name} {resident.keys}", handle=resident.repo.handle
        )
        self._set_host(resident, self._chance.choice(self.hosts))
        self._listing.host(resident.repo)
        resident.status = None
        self._publish(resident)
        self._tell_identity(resident)
        self.channel.send("#account", resident.repo.account_body(True), sure=True)
        self.channel.send("#commit", self._move_commit(resident))
        return True

    def _old_deletion(self) -> bool:
        """The word of a deletion, long after the account was made anew (trap T6)."""
        resident = self._some(lambda r: r.lives > 1 and not r.gone)
        if resident is None:
            return False
        self.channel.send("#account", resident.repo.account_body(False, "deleted"))
        return True

    # -- what lasts a while

    def _for_a_while(self, undo: Callable[[], None], most: int = 60) -> None:
        self._until.append((self.events + self._chance.randint(10, most), undo))

    def _blind(self) -> bool:
        self.channel.blind = frozenset(
            self._chance.sample((TRACK, f"{OURS}like", f"{OURS}comment", f"{OURS}list", PROFILE), 3)
        )
        self._for_a_while(lambda: setattr(self.channel, "blind", frozenset[str]()))
        return True

    def _offline(self) -> bool:
        """Whatever is written and deleted meanwhile, the stream will never tell."""
        self.channel.offline = True
        self._for_a_while(lambda: setattr(self.channel, "offline", False))
        return True

    def _host_away(self) -> bool:
        host = self._chance.choice(self.hosts)
        host.set_away(True)
        self._for_a_while(lambda: host.set_away(False))
        return True

    def _stale(self) -> bool:
        """A host that has an old copy of a repo at hand, and will give it away."""
        resident = self._active()
        resident.pds.remember(resident.did)
        resident.pds.fail(Fault.STALE, GET_REPO, resident.did)
        return True

    def _cut(self) -> bool:
        self.channel.cut()
        return True

    def _reset(self) -> bool:
        if self.events < 300:
            return False
        self.channel.reset()
        return True


_DO: dict[str, Callable[[Story], bool]] = {
    "write": Story._write,
    "import": Story._import,
    "empty commit": Story._empty,
    "write unseen, then sync": Story._unseen,
    "poison record": Story._poison_record,
    "poison frame": Story._poison_frame,
    "newcomer": Story._newcomer,
    "rotate key": Story._rotate,
    "rename": Story._rename,
    "take a handle": Story._take_handle,
    "migrate": Story._migrate,
    "old host's word": Story._old_word,
    "deactivate": Story._deactivate,
    "take down": Story._take_down,
    "throttle": Story._throttle,
    "come back": Story._come_back,
    "false alarm": Story._false_alarm,
    "delete": Story._delete,
    "recreate": Story._recreate,
    "old deletion again": Story._old_deletion,
    "tombstone": Story._tombstone,
    "blind": Story._blind,
    "offline": Story._offline,
    "host away": Story._host_away,
    "stale": Story._stale,
    "cut": Story._cut,
    "reset": Story._reset,
}
