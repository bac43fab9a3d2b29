# file-ipc, "Python Client Example"; nothing was corrected.
import json
from pathlib import Path

def read_file_ipc_metrics(base_dir):
    """Read metrics from File IPC output directory."""
    base_path = Path(base_dir)

    core_metrics = []
    with open(base_path / "core_metrics.jsonl") as f:
        for line in f:
            envelope = json.loads(line)
            core_metrics.append(envelope)

    edge_metrics = []
    with open(base_path / "edge_metrics.jsonl") as f:
        for line in f:
            envelope = json.loads(line)
            edge_metrics.append(envelope)

    return core_metrics, edge_metrics

core, edge = read_file_ipc_metrics("./file_ipc_output")
print(f"Collected {len(core)} core metric samples")
print(f"Collected {len(edge)} edge metric samples")
