"""What each gRPC connection of this process carries, as metrics: gRPC counts it itself (channelz), also in the far
ends that it picks. They tell whether calls are spread over the replicas, and who holds on to an old connection.

Read when metrics are: a connection that has ended is no longer told of, so the labels are as many as its far ends, and
at most `MOST` of a side: those that are more are told as one, `other`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from grpc_channelz.v1 import channelz_pb2
from grpc_channelz.v1.channelz import ChannelzServicer
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from laneway.telemetry.catalogue import METRICS, OTHER

_COUNTED = ("streams_started", "streams_failed", "messages_sent", "messages_received", "keep_alives_sent")

MOST = 100
"""Far ends of a side that are told apart."""

Key = tuple[str, str]


class Connections(Collector):
    """The connections of a process, by side and far end: a client's by address and port, a server's by address."""

    def collect(self) -> Iterator[Metric]:
        """The figures of now."""
        sums: dict[str, dict[Key, int]] = defaultdict(lambda: defaultdict(int))
        for side, socket in _sockets():
            key = _known(side, _far_end(socket, with_port=side == "client"), sums["open"])
            sums["open"][key] += 1
            for name in _COUNTED:
                sums[name][key] += getattr(socket.data, name)
        for name in ("open", *_COUNTED):
            it = METRICS[f"laneway_grpc_connections_{name}"]
            family = GaugeMetricFamily(it.name, it.meaning, labels=it.labels)
            for key, value in sorted(sums[name].items()):
                family.add_metric(key, value)
            yield family

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask gRPC."""
        return ()


class _Context:
    """What the servicer tells of what has gone meanwhile; nothing comes of it."""

    def set_code(self, _: Any) -> None:
        """It has no answer then."""

    def set_details(self, _: str) -> None:
        """It has no answer then."""


_GONE = _Context()


def _known(side: str, peer: str, told: Mapping[Key, int]) -> Key:
    """The labels of a far end, which are `other` when there are many."""
    if (side, peer) in told or sum(each == side for each, _ in told) < MOST:
        return side, peer
    return side, OTHER


def _sockets() -> Iterator[tuple[str, Any]]:
    servers = ChannelzServicer.GetServers(channelz_pb2.GetServersRequest(), _GONE)
    for server in servers.server if servers else ():
        asked = channelz_pb2.GetServerSocketsRequest(server_id=server.ref.server_id)
        found = ChannelzServicer.GetServerSockets(asked, _GONE)
        yield from (("server", socket) for socket in _each(found.socket_ref if found else ()))
    channels = ChannelzServicer.GetTopChannels(channelz_pb2.GetTopChannelsRequest(), _GONE)
    for channel in channels.channel if channels else ():
        for reference in channel.subchannel_ref:
            asked = channelz_pb2.GetSubchannelRequest(subchannel_id=reference.subchannel_id)
            found = ChannelzServicer.GetSubchannel(asked, _GONE)
            yield from (("client", socket) for socket in _each(found.subchannel.socket_ref if found else ()))


def _each(references: Iterable[Any]) -> Iterator[Any]:
    for reference in references:
        found = ChannelzServicer.GetSocket(channelz_pb2.GetSocketRequest(socket_id=reference.socket_id), _GONE)
        if found is not None:
            yield found.socket


def _far_end(socket: Any, *, with_port: bool) -> str:
    address = socket.remote.tcpip_address
    if not address.ip_address:
        return "local"
    host = str(ip_address(address.ip_address))
    return f"{host}:{address.port}" if with_port else host
