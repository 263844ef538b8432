// Command tilecheck reads a ledger's published tiles with Go's own packages for transparency logs, which share no code
// with this project: the checkpoint's signature, every hash through the tiles up to its root, every entry's hash, and
// an inclusion and a consistency proof for some.
//
//	tilecheck FOLDER VKEY
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8 // C2SP tlog-tiles

type folder string

func (f folder) Height() int { return height }

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		// tlog's own paths name the height; tlog-tiles leaves it out
		path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/", height), "tile/", 1)
		read, err := os.ReadFile(filepath.Join(string(f), path))
		if err != nil {
			return nil, err
		}
		data = append(data, read)
	}
	return data, nil
}

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folder) bundle(n int64, width int) ([][]byte, error) {
	tile := tlog.Tile{H: height, L: -1, N: n, W: width}
	path := strings.Replace(tile.Path(), fmt.Sprintf("tile/%d/data/", height), "tile/entries/", 1)
	data, err := os.ReadFile(filepath.Join(string(f), path))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, fmt.Errorf("%s is cut short", path)
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:end])
		data = data[end:]
	}
	return entries, nil
}

func check(f folder, vkey string) (int64, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return 0, err
	}
	signed, err := os.ReadFile(filepath.Join(string(f), "checkpoint"))
	if err != nil {
		return 0, err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return 0, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return 0, fmt.Errorf("the checkpoint is %q", opened.Text)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return 0, err
	}
	raw, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(raw) != tlog.HashSize {
		return 0, fmt.Errorf("the root is %q", lines[2])
	}
	tree := tlog.Tree{N: size, Hash: tlog.Hash(*(*[tlog.HashSize]byte)(raw))}
	hashes := tlog.TileHashReader(tree, f) // every tile it gives was authenticated against the root
	var indexes []int64
	for i := int64(0); i < size; i++ {
		indexes = append(indexes, tlog.StoredHashIndex(0, i))
	}
	leaves, err := hashes.ReadHashes(indexes)
	if err != nil {
		return 0, err
	}
	for i := int64(0); i < size; i += 256 {
		width := int(min(256, size-i))
		entries, err := f.bundle(i/256, width)
		if err != nil {
			return 0, err
		}
		if len(entries) != width {
			return 0, fmt.Errorf("bundle %d has %d entries", i/256, len(entries))
		}
		for j, entry := range entries {
			if tlog.RecordHash(entry) != leaves[i+int64(j)] {
				return 0, fmt.Errorf("entry %d is not the one that was recorded", i+int64(j))
			}
		}
	}
	for i := int64(0); i < size; i += size/7 + 1 {
		proof, err := tlog.ProveRecord(size, i, hashes)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckRecord(proof, size, tree.Hash, i, leaves[i]); err != nil {
			return 0, err
		}
		old, err := tlog.TreeHash(i+1, hashes)
		if err != nil {
			return 0, err
		}
		grown, err := tlog.ProveTree(size, i+1, hashes)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckTree(grown, size, tree.Hash, i+1, old); err != nil {
			return 0, err
		}
	}
	return size, nil
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

func main() {
	size, err := check(folder(os.Args[1]), os.Args[2])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(size)
}
