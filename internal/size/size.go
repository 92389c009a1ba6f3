// Package size parses and prints sizes in bytes in the notation of systemd's unit files
// and systemctl: a number and a suffix K, M, G or T to the base 1024.
package size

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/t0mpr1c3/claude-microvm/internal/failure"
)

const suffixes = "KMGT"

// Parse parses a size. A number without a suffix is in bytes.
func Parse(text string) (bytes uint64, err error) {
	number, shift := text, 0
	if i := strings.IndexAny(text, suffixes); i >= 0 && i == len(text)-1 {
		number, shift = text[:i], 10*(strings.IndexByte(suffixes, text[i])+1)
	}
	n, err := strconv.ParseUint(number, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && n > math.MaxUint64>>shift:
		return 0, errors.New("too large")
	case err != nil:
		return 0, failure.New(failure.Usage, "write a number and K, M, G or T, for example 8G", "not a size")
	}
	return n << shift, nil
}

// Format returns a size in M or G with at most one decimal place: 512M, 1.5G.
func Format(bytes uint64) string {
	value, unit := float64(bytes)/(1<<20), "M"
	if bytes >= 1<<30 {
		value, unit = value/1024, "G"
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0") + unit
}
