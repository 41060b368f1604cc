import socket

from deploy.local.ports import LOOPBACK, free_port, is_free, reserve


def test_a_port_in_use_is_not_free_and_a_chosen_one_is() -> None:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        assert not is_free(server.getsockname()[1])
    assert is_free(free_port())


def test_reserved_ports_differ_and_are_remembered() -> None:
    first = reserve(["a", "b", "c"], {})
    assert len(set(first.values())) == 3
    assert reserve(["a", "b", "c"], first) == first


def test_only_a_port_taken_meanwhile_changes() -> None:
    first = reserve(["a", "b"], {})
    with socket.socket() as server:
        server.bind((LOOPBACK, first["a"]))
        server.listen()
        second = reserve(["a", "b", "c"], first)
    assert second["b"] == first["b"]
    assert second["a"] != first["a"]
    assert len(set(second.values())) == 3


def test_a_port_remembered_twice_goes_to_one_name() -> None:
    port = free_port()
    chosen = reserve(["a", "b"], {"a": port, "b": port})
    assert chosen["a"] == port and chosen["b"] != port
