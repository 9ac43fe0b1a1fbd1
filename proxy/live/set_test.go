package live

import "testing"

// What leaves, or comes, while each is told does not disturb the telling.
func TestEachIsOfTheMoment(t *testing.T) {
	var s Set[int]
	for i := range 3 {
		s.Add(i)
	}
	told := 0
	s.Each(func(i int) {
		told++
		s.Remove(i)
		s.Add(i + 10)
	})
	if told != 3 {
		t.Errorf("%d were told, of 3", told)
	}
	left := 0
	s.Each(func(i int) {
		if left++; i < 10 {
			t.Errorf("%d is still there", i)
		}
	})
	if left != 3 {
		t.Errorf("%d are left, of 3", left)
	}
}
