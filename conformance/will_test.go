package conformance

var willTests = []test{}
