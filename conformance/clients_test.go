package conformance

var clientTests = []test{}
