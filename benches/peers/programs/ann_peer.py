"""Nearest neighbors by hnswlib or faiss: `ann_peer.py SYSTEM VECTORS QUERIES TRUTH`, a JSON line for each measurement."""

import json
import os
import sys
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

K, LINKS, CANDIDATES, ROUNDS = 10, 16, 200, 3
EFFORTS = (16, 24, 32, 48, 64, 96, 128, 192)


def memory() -> int:
    """The bytes that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def hnswlib_index(vectors: np.ndarray) -> Callable[[np.ndarray, int], np.ndarray]:
    import hnswlib

    index = hnswlib.Index("ip", vectors.shape[1])
    index.init_index(len(vectors), M=LINKS, ef_construction=CANDIDATES, random_seed=1)
    index.set_num_threads(1)
    index.add_items(vectors, num_threads=1)

    def search(queries: np.ndarray, effort: int) -> np.ndarray:
        index.set_ef(effort)
        return index.knn_query(queries, K, num_threads=1)[0]

    return search


def faiss_index(vectors: np.ndarray) -> Callable[[np.ndarray, int], np.ndarray]:
    import faiss

    faiss.omp_set_num_threads(1)
    bits = faiss.ScalarQuantizer.QT_8bit
    index = faiss.IndexHNSWSQ(vectors.shape[1], bits, LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CANDIDATES
    index.train(vectors)
    index.add(vectors)

    def search(queries: np.ndarray, effort: int) -> np.ndarray:
        index.hnsw.efSearch = effort
        return index.search(queries, K)[1]

    return search


def main(system: str, vectors_path: str, queries_path: str, truth_path: str) -> None:
    vectors, queries, truth = (np.load(path) for path in (vectors_path, queries_path, truth_path))
    held, start = memory(), time.process_time()
    search = {"hnswlib": hnswlib_index, "faiss": faiss_index}[system](vectors)
    print(json.dumps({"part": "build", "cpu": time.process_time() - start, "bytes": memory() - held}), flush=True)
    for effort in EFFORTS:
        times = []
        for _ in range(ROUNDS):
            start = time.process_time()
            found = search(queries, effort)
            times.append(time.process_time() - start)
        hits = sum(len({*map(int, ours)} & {*map(int, true)}) for ours, true in zip(found, truth))
        line = {"part": "search", "effort": effort, "recall": hits / truth.size, "rate": len(queries) / min(times)}
        print(json.dumps(line), flush=True)


main(*sys.argv[1:])
