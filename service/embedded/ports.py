"""The loopback ports of the embedded servers: chosen once, kept in run/ports.json, chosen again when taken."""

import json
import socket

from service.embedded.folder import DataFolder, write_private


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen on this port now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def kept_ports(folder: DataFolder) -> dict[str, int]:
    """Ports by program name, as the last start left them."""
    try:
        kept = json.loads((folder.run / "ports.json").read_text())
        return {str(name): int(port) for name, port in kept.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def keep_ports(folder: DataFolder, ports: dict[str, int]) -> None:
    """Replace the kept ports with these."""
    write_private(folder.run / "ports.json", json.dumps(kept_ports(folder) | ports, indent=2) + "\n")


def choose_ports(folder: DataFolder, names: tuple[str, ...]) -> dict[str, int]:
    """A free port for each name, the kept one where it is still free; kept for the next start."""
    kept = kept_ports(folder)
    with socket.socket() as first, socket.socket() as second:  # both bound at once, so that they differ
        ports = {}
        for name, probe in zip(names, (first, second), strict=True):
            usable = name in kept and port_is_free("127.0.0.1", kept[name])
            probe.bind(("127.0.0.1", 0))
            ports[name] = kept[name] if usable else probe.getsockname()[1]
    keep_ports(folder, ports)
    return ports
