package conformance

var stringTests = []test{}
