package size

import "testing"

func TestParse(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "4096": 4096, "1K": 1 << 10, "512M": 512 << 20, "4G": 4 << 30, "16777215T": 16777215 << 40,
	} {
		if got, err := Parse(text); got != want || err != nil {
			t.Errorf("Parse(%s) = %d, %v, want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "not a size", "G": "not a size", "1g": "not a size", "1.5G": "not a size", "-1": "not a size", "1 G": "not a size",
		"1GB": "not a size", "16777216T": "too large", "99999999999999999999": "too large",
	} {
		if got, err := Parse(text); err == nil || err.Error() != want {
			t.Errorf("Parse(%s) = %d, %v, want %s", text, got, err, want)
		}
	}
}

func TestFormat(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0M", 100 << 10: "0.1M", 512 << 20: "512M", 1<<30 - 1: "1024M", 1 << 30: "1G", 3 << 29: "1.5G", 2 << 40: "2048G",
	} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %s, want %s", n, got, want)
		}
	}
}
