"""A Ray cluster of several machines, all of them this one: `python machines.py MACHINES CPUS`.

Prints one line of JSON (address, process ids of the machines' raylets), then ends everything when its stdin
does. A process of its own, so that Ray's threads and signal handlers stay out of the tests.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_DISABLE_IMPORT_WARNING"] = "1"

from ray.cluster_utils import Cluster

ADDRESS = "127.0.0.2"  # Ray takes 127.0.0.1 for this machine's address in the network
OBJECT_STORE_BYTES = 80 * 2**20


def main() -> None:
    """Run the machines until stdin ends."""
    machines, cpus = int(sys.argv[1]), int(sys.argv[2])
    options = {
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "node_ip_address": ADDRESS, **options}
    )
    try:
        nodes = [
            cluster.add_node(num_cpus=cpus, wait=False, node_ip_address=ADDRESS, **options)
            for _ in range(machines)
        ]
        cluster.wait_for_nodes(timeout=60)
        raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
        of_head = cluster.head_node.all_processes
        head, gcs = (of_head[kind][0].process.pid for kind in ("raylet", "gcs_server"))
        told = {"address": cluster.address, "raylets": raylets, "head": head, "gcs": gcs}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
