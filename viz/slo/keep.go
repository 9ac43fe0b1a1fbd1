package slo

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A file in which a book is kept has a line for each thing that is known, with its checksum before
// it. Lines are only ever added, each minute, until they are twice as many as are needed: then the
// file is written anew. Times are the wall's, in slots.
//
//	o ID {"Namespace":"shop",...}     an objective
//	r FIRST LAST                      viz ran from one slot to another
//	m ID SLOT REQUESTS BAD            what was counted in the minute of a slot
//	h ID SLOT REQUESTS BAD            in the hour of a slot; there are no minutes of it
const (
	lineObjective = "o"
	lineRan       = "r"
	lineMinute    = "m"
	lineHour      = "h"
)

const (
	// maxKept bounds what is read: a full book has about 200 MB.
	maxKept = 512 << 20
	// slack is how much a file may grow before it is written anew, beside doubling.
	slack = 1 << 20
	// maxLine is more than any line has: names are bounded.
	maxLine = 16 << 10
	maxName = 1 << 10
	// unfinished ends the name of a file that is being written.
	unfinished = ".new"
)

// Keep is a file in which a book is kept. It is its owner's alone, who calls Lines while nothing
// happens to the book, and Append with what it returned at any time.
type Keep struct {
	path   string
	file   *os.File
	size   int64
	limit  int64 // beyond it the file is written anew
	minute int64 // the first of which nothing is written
	told   map[key]told
	ids    int
}

// told is an objective as it was written last.
type told struct {
	id int
	Objective
}

// OpenKeep reads a file into a book that knows nothing yet, and goes on in it; there need not be
// one. Lost is how many lines could not be read: those of a moment in which a machine failed.
func OpenKeep(path string, b *Book, now time.Time) (k *Keep, lost int, err error) {
	data, err := readKept(path)
	if err != nil {
		return nil, 0, err
	}
	lost = b.restore(data, now)
	k = &Keep{path: path, minute: b.clock.now / perMinute}
	if err := k.rewrite(k.all(b, k.minute)); err != nil {
		return nil, 0, err
	}
	return k, lost, nil
}

func readKept(path string) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what is kept of objectives: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxKept))
	if err != nil {
		return nil, fmt.Errorf("read what is kept of objectives: %w", err)
	}
	return data, nil
}

// Lines are what has been counted since the last call, or, where more than enough was added, all
// that is known; nil: a minute is not over yet. With last, what there is of the minute of now is
// told too: nothing will be counted any more.
func (k *Keep) Lines(b *Book, last bool) []byte {
	before, minute := k.minute, b.clock.now/perMinute
	if last {
		minute++
	}
	if minute == before {
		return nil
	}
	k.minute = minute
	if k.size > k.limit {
		return k.all(b, minute)
	}
	var out lines
	for _, l := range b.Ledgers() {
		id := k.id(&out, l)
		for n := max(before, minute-int64(minuteSlots)); n < minute; n++ {
			if c := l.minutes.part(n); c.Requests > 0 {
				out.count(lineMinute, id, n*perMinute-b.clock.ahead, c)
			}
		}
	}
	spans := b.clock.known
	out.ran(spans[len(spans)-1], b.clock.ahead)
	return out.text
}

// Append writes what Lines returned.
func (k *Keep) Append(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if k.size > k.limit {
		return k.rewrite(text)
	}
	n, err := k.file.Write(text)
	k.size += int64(n)
	if err != nil {
		return fmt.Errorf("keep what is counted for objectives: %w", err)
	}
	return nil
}

// Close writes the last lines and closes the file.
func (k *Keep) Close(b *Book) error {
	return errors.Join(k.Append(k.Lines(b, true)), k.file.Close())
}

// rewrite puts a new file in the old one's place, at once.
func (k *Keep) rewrite(text []byte) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write what is kept of objectives anew: %w", err)
		}
	}()
	file, err := os.OpenFile(k.path+unfinished, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err = errors.Join(err, file.Sync()); err == nil {
		err = os.Rename(file.Name(), k.path)
	}
	if err != nil {
		return errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	if k.file != nil {
		k.file.Close() // it is nobody's any more
	}
	k.file, k.size = file, int64(len(text))
	k.limit = 2*k.size + slack
	return nil
}

// id is what an objective is called in the file. It is told anew when it has changed.
func (k *Keep) id(out *lines, l *Ledger) int {
	was, ok := k.told[l.objective.key()]
	if ok && was.Objective == l.objective {
		return was.id
	}
	k.ids++
	k.told[l.objective.key()] = told{k.ids, l.objective}
	out.objective(k.ids, &l.objective)
	return k.ids
}

// all is a whole book, up to a minute: hours, and minutes of those hours of which there are.
func (k *Keep) all(b *Book, until int64) []byte {
	k.told, k.ids = map[key]told{}, 0
	var out lines
	for _, s := range b.clock.known {
		out.ran(s, b.clock.ahead)
	}
	for _, l := range b.Ledgers() {
		id := k.id(&out, l)
		minutes := (l.minutes.begin(b.clock.now, int64(minuteSlots))/perHour + 1) * perHour
		l.hours.each(func(slot int64, c Count) {
			if slot < minutes {
				out.count(lineHour, id, slot-b.clock.ahead, c)
			}
		})
		l.minutes.each(func(slot int64, c Count) {
			if slot >= minutes && slot < until*perMinute {
				out.count(lineMinute, id, slot-b.clock.ahead, c)
			}
		})
	}
	return out.text
}

// lines are text that is made line by line.
type lines struct{ text []byte }

func (l *lines) add(line string) {
	l.text = fmt.Appendf(l.text, "%08x %s\n", crc32.ChecksumIEEE([]byte(line)), line)
}

func (l *lines) objective(id int, o *Objective) {
	text, err := json.Marshal(o)
	if err != nil {
		return // strings and numbers can be written
	}
	l.add(fmt.Sprintf("%s %d %s", lineObjective, id, text))
}

// ran tells when viz ran. Slots begin in 1970: what a clock that was set back puts before is left
// out.
func (l *lines) ran(s span, ahead int64) {
	if s.Last >= ahead {
		l.add(fmt.Sprintf("%s %d %d", lineRan, max(s.First-ahead, 0), s.Last-ahead))
	}
}

func (l *lines) count(kind string, id int, slot int64, c Count) {
	if slot < 0 {
		return
	}
	l.add(fmt.Sprintf("%s %d %d %d %d", kind, id, slot, c.Requests, c.Bad))
}

// kept is what a file says.
type kept struct {
	ids    map[int]*Ledger
	spans  []span
	counts []keptCount
	lost   int
}

type keptCount struct {
	ledger *Ledger
	slot   int64
	hour   bool
	Count
}

// restore fills a book that knows nothing. A clock that was set back while viz did not run must not
// put what is known into the future.
func (b *Book) restore(data []byte, now time.Time) (lost int) {
	k := readLines(data)
	slices.SortFunc(k.spans, func(x, y span) int { return cmp.Compare(x.First, y.First) })
	by := int64(0)
	for _, s := range k.spans {
		by = max(by, s.Last-slotOf(now))
	}
	for _, s := range k.spans {
		b.clock.knows(span{s.First - by, s.Last - by})
	}
	b.clock.now = slotOf(now)
	b.clock.knows(span{b.clock.now, b.clock.now})
	for _, l := range k.ids {
		if len(b.ledgers) < MaxObjectives {
			b.ledgers[l.objective.key()] = l
		}
	}
	for _, l := range k.ids {
		l.since = b.clock.now
	}
	for _, c := range k.counts {
		slot := min(c.slot-by, b.clock.now)
		c.ledger.since = min(c.ledger.since, slot)
		c.ledger.hours.add(slot, c.Count)
		if !c.hour {
			c.ledger.minutes.add(slot, c.Count)
			c.ledger.fine.add(slot, c.Count)
		}
	}
	return k.lost
}

func readLines(data []byte) *kept {
	k := &kept{ids: map[int]*Ledger{}}
	in := bufio.NewScanner(bytes.NewReader(data))
	in.Buffer(make([]byte, 0, maxLine), maxLine)
	for in.Scan() {
		sum, line, _ := strings.Cut(in.Text(), " ")
		want, err := strconv.ParseUint(sum, 16, 32)
		if err != nil || uint32(want) != crc32.ChecksumIEEE([]byte(line)) || !k.line(line) {
			k.lost++
		}
	}
	if in.Err() != nil {
		k.lost++ // something else than our lines, of which the rest is not read
	}
	return k
}

// line reads one, and says whether it could.
func (k *kept) line(text string) bool {
	kind, rest, _ := strings.Cut(text, " ")
	if kind == lineObjective {
		return k.objective(rest)
	}
	var numbers []uint64
	for _, word := range strings.Fields(rest) {
		n, err := strconv.ParseUint(word, 10, 62)
		if err != nil {
			return false
		}
		numbers = append(numbers, n)
	}
	switch {
	case kind == lineRan && len(numbers) == 2 && numbers[0] <= numbers[1]:
		k.spans = append(k.spans, span{int64(numbers[0]), int64(numbers[1])})
	case (kind == lineMinute || kind == lineHour) && len(numbers) == 4:
		l := k.ids[int(numbers[0])]
		if l == nil || numbers[3] > numbers[2] {
			return false
		}
		k.counts = append(k.counts, keptCount{l, int64(numbers[1]), kind == lineHour,
			Count{numbers[2], numbers[3]}})
	default:
		return false
	}
	return true
}

func (k *kept) objective(text string) bool {
	number, body, _ := strings.Cut(text, " ")
	id, err := strconv.Atoi(number)
	var o Objective
	if err != nil || json.Unmarshal([]byte(body), &o) != nil || !o.sound() {
		return false
	}
	for _, l := range k.ids { // it has changed
		if l.objective.counts(&o) {
			l.objective = o
			k.ids[id] = l
			return true
		}
	}
	if len(k.ids) >= 2*MaxObjectives {
		return false
	}
	k.ids[id] = newLedger(o, 0)
	return true
}

// sound says whether an objective that was read can be counted for.
func (o *Objective) sound() bool {
	for _, name := range []string{o.Namespace, o.Name, o.Service, o.Route} {
		if len(name) > maxName {
			return false
		}
	}
	return o.Namespace != "" && o.Name != "" && o.Service != "" && o.Target > 0 && o.Target < 1 &&
		o.Window >= day && o.Window <= maxWindow && o.Latency >= 0
}
