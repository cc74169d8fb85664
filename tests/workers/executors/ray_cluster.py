"""Run as a script: a Ray cluster on this machine, a head without processors and two nodes of one each.

Prints the head's address. A line ``kill`` on standard input ends a node at once; the end of it ends all.
"""

import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    less = {"object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **less})
    nodes = [cluster.add_node(num_cpus=1, **less) for _ in range(2)]
    sys.stdout.write(f"{cluster.address}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            sys.stdout.write("killed\n")
            sys.stdout.flush()
    cluster.shutdown()
