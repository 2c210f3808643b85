"""Prefix sharing: the hashes of a prompt's beginnings, and a radix tree of the requests that wait.

A server with a prefix cache reads a shared beginning once, if the requests that share it come in a row. The
text of a prompt is cut into pieces (paragraphs, images, roles); a prefix chain holds one hash for each number
of leading pieces. The tree's nodes are prefixes. Each node counts the requests and the work below it, so that
an endpoint can walk from its present prefix to the nearest one with most work.
"""

from __future__ import annotations

import heapq
import re
import zlib
from collections import Counter
from typing import Any

from evalkit.types import Request, Text

MOST_PIECES = 64
_split = re.compile(rb"\n\n").split  # twice as fast as bytes.split in long paragraphs


def prefix_chain(request: Request) -> tuple[int, ...]:
    """Return the hashes of a request's beginnings, shortest first: one after each paragraph, image and role.

    The common prefix of two chains is that of the two prompts. A chain is the same in every process.
    """
    chain: list[int] = []
    last = 0
    for piece in _pieces(request):
        last = zlib.crc32(piece, last)
        if len(chain) < MOST_PIECES:
            chain.append(last)
        else:
            chain[-1] = last
    return tuple(chain)


def _pieces(request: Request) -> list[bytes]:
    pieces: list[bytes] = []
    for message in request.messages:
        pieces.append(message.role.encode())
        if isinstance(message.content, str):
            pieces += _split(message.content.encode())
            continue
        for part in message.content:
            if isinstance(part, Text):
                pieces += _split(part.text.encode())
            else:
                pieces.append(part.sha256.encode())
    if request.prompt is not None:
        pieces += _split(request.prompt.encode())
    if request.continuation is not None:
        pieces.append(request.continuation.encode())
    return pieces


def characters(request: Request) -> int:
    """Return the number of characters of a request's text."""
    count = len(request.prompt or "")
    for message in request.messages:
        if isinstance(message.content, str):
            count += len(message.content)
        else:
            count += sum(len(part.text) for part in message.content if isinstance(part, Text))
    return count


class QueuedRequest:
    """A request in the scheduler: what is predicted of it, where it waits, and when and where it was sent.

    ``number`` counts the requests submitted, ``sent`` those sent; ``sent_at`` is the time. ``length`` are the
    expected output tokens, ``work`` adds the reading of the prompt. ``group`` is the hash of the longest
    prefix that an earlier request had too. ``home`` is that prefix's endpoint, ``endpoint`` the one chosen.
    """

    __slots__ = (
        "chain",
        "cost",
        "endpoint",
        "group",
        "home",
        "length",
        "node",
        "number",
        "request",
        "sent",
        "sent_at",
        "state",
        "waiter",
        "work",
    )

    def __init__(self, number: int, request: Request, chain: tuple[int, ...]) -> None:
        self.number, self.request, self.chain = number, request, chain
        self.length = self.work = 1
        self.cost = 0.0  # tokens of prompt and reply, for the rates of tokens; set when sent
        self.group = self.home = self.endpoint = 0
        self.sent, self.sent_at = 0, 0.0
        self.state = "waiting"  # then "sent", then "gone"
        self.node: _Node | None = None
        self.waiter: Any = None


class _Node:
    """A node of the radix tree: pieces of a prefix, and the number and work of the requests below."""

    __slots__ = ("children", "count", "here", "label", "parent", "ranking", "work")

    def __init__(self, label: tuple[int, ...], parent: _Node | None) -> None:
        self.label, self.parent = label, parent
        self.children: dict[int, _Node] = {}
        # A heap of work, number and request: the requests that end here, longest first.
        self.here: list[tuple[int, int, QueuedRequest]] = []
        self.ranking: list[tuple[int, int, _Node]] = []  # a heap: children by work, with outdated entries
        self.count = self.work = 0

    def __lt__(self, other: _Node) -> bool:
        return False  # for entries of equal work and key: any order will do

    def child(self, label: tuple[int, ...]) -> _Node:
        """Add a child and return it."""
        node = self.children[label[0]] = _Node(label, self)
        return node

    def split(self, at: int) -> _Node:
        """Put a node for the first ``at`` pieces above this one and return it."""
        assert self.parent is not None
        upper = self.parent.child(self.label[:at])
        upper.count, upper.work = self.count, self.work
        self.label, self.parent = self.label[at:], upper
        upper.children[self.label[0]] = self
        upper.rank(self)
        upper.parent.rank(upper)  # type: ignore[union-attr]
        return upper

    def rank(self, child: _Node) -> None:
        """Record that a child's work has grown."""
        if len(self.ranking) > 16 + 2 * len(self.children):
            self.ranking = [(-c.work, c.label[0], c) for c in self.children.values()]
            heapq.heapify(self.ranking)
        else:
            heapq.heappush(self.ranking, (-child.work, child.label[0], child))

    def largest(self) -> _Node:
        """Return the child with most work."""
        while True:
            minus_work, key, child = self.ranking[0]
            if -minus_work == child.work and self.children.get(key) is child:
                return child
            if self.children.get(key) is child:
                heapq.heapreplace(self.ranking, (-child.work, key, child))
            else:
                heapq.heappop(self.ranking)


class PrefixQueue:
    """Waiting requests in a radix tree of their prefixes. Each operation is O(depth · log n)."""

    def __init__(self) -> None:
        self._root = _Node((), None)
        self._positions: dict[int, _Node] = {}  # the node from which each endpoint took its last request
        self.groups: Counter[int] = Counter()  # waiting requests of each group

    def __len__(self) -> int:
        return self._root.count

    @property
    def work(self) -> int:
        """The work of all waiting requests."""
        return self._root.work

    def push(self, queued: QueuedRequest) -> None:
        """Add a request."""
        node = queued.node = self._find(queued.chain)
        heapq.heappush(node.here, (-queued.work, queued.number, queued))
        self.groups[queued.group] += 1
        ancestor: _Node | None = node
        while ancestor is not None:
            ancestor.count += 1
            ancestor.work += queued.work
            if ancestor.parent is not None:
                ancestor.parent.rank(ancestor)
            ancestor = ancestor.parent

    def _find(self, chain: tuple[int, ...]) -> _Node:
        node, at = self._root, 0
        while at < len(chain):
            child = node.children.get(chain[at])
            if child is None:
                return node.child(chain[at:])
            shared = _shared(child.label, chain, at)
            node = child if shared == len(child.label) else child.split(shared)
            at += shared
        return node

    def remove(self, queued: QueuedRequest) -> None:
        """Take one request out of the queue."""
        node = queued.node
        queued.node = None
        self.groups[queued.group] -= 1
        if not self.groups[queued.group]:
            del self.groups[queued.group]
        while node is not None:
            node.count -= 1
            node.work -= queued.work
            if not node.count and node.parent is not None:
                del node.parent.children[node.label[0]]
            node = node.parent

    def pop(self, endpoint: int) -> QueuedRequest:
        """Take out the next request for an endpoint: the nearest in the tree to the endpoint's last one."""
        node = self._positions.get(endpoint, self._root)
        while not node.count:
            assert node.parent is not None
            node = node.parent
        while True:
            while node.here and node.here[0][2].node is not node:
                heapq.heappop(node.here)
            if node.here:
                break
            node = node.largest()
        queued = heapq.heappop(node.here)[2]
        self.move_to(endpoint, queued)
        self.remove(queued)
        return queued

    def move_to(self, endpoint: int, queued: QueuedRequest) -> None:
        """Let the endpoint go on from this request's prefix. Call this before ``remove``."""
        assert queued.node is not None
        self._positions[endpoint] = queued.node


def _shared(label: tuple[int, ...], chain: tuple[int, ...], at: int) -> int:
    """Return the number of leading pieces that ``label`` has in common with ``chain`` from ``at`` on."""
    if chain[at : at + len(label)] == label:
        return len(label)
    return next(i for i, piece in enumerate(label) if at + i == len(chain) or piece != chain[at + i])
