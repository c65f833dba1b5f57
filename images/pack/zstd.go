package pack

import (
	"io"

	"github.com/klauspost/compress/zstd"
)

// Windows of compression, as the logarithm of their bytes. The wider it is,
// the more of what Go programs have in common is stored only once, and the more
// memory it takes to unpack.
const (
	LayerWindow  = 23
	EngineWindow = 26 // the programs of the engine side by side: 22 MB instead of 33
)

// Compress compresses what is written to the returned writer as hard as
// reasonable. The same input always gives the same bytes.
func Compress(w io.Writer, window uint) (io.WriteCloser, error) {
	return zstd.NewWriter(w,
		zstd.WithEncoderLevel(zstd.SpeedBestCompression),
		zstd.WithWindowSize(1<<window),
		zstd.WithEncoderConcurrency(1))
}

// wrap frames data that is already compressed, at next to no cost.
func wrap(w io.Writer) (io.WriteCloser, error) {
	return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
}
