// A round trip of the AWS SDK for Go v2 with its default settings; the key comes from the environment.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func holds(what string, good bool) {
	if !good {
		log.Fatal(what)
	}
}

func main() {
	bucket, background := aws.String(os.Args[1]), context.Background()
	endpoint := aws.EndpointResolverWithOptionsFunc(func(service, region string, _ ...interface{}) (aws.Endpoint, error) {
		return aws.Endpoint{URL: os.Getenv("AWS_ENDPOINT_URL"), HostnameImmutable: true, SigningRegion: region}, nil
	})
	loaded, err := config.LoadDefaultConfig(background, config.WithEndpointResolverWithOptions(endpoint))
	must(err)
	client := s3.NewFromConfig(loaded, func(options *s3.Options) { options.UsePathStyle = true })

	_, err = client.CreateBucket(background, &s3.CreateBucketInput{Bucket: bucket})
	must(err)
	large := make([]byte, 20<<20+7)
	for at := range large {
		large[at] = byte(at ^ at>>8 ^ at>>16)
	}
	_, err = manager.NewUploader(client).Upload(background, &s3.PutObjectInput{
		Bucket: bucket, Key: aws.String("in/large"), Body: bytes.NewReader(large), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32,
	})
	must(err)
	back := manager.NewWriteAtBuffer(nil)
	_, err = manager.NewDownloader(client).Download(background, back, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("in/large")})
	must(err)
	holds("what was uploaded comes back", bytes.Equal(back.Bytes(), large))

	small := &s3.PutObjectInput{Bucket: bucket, Key: aws.String("in/a b+ü"), Body: strings.NewReader("small"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256}
	put, err := client.PutObject(background, small)
	must(err)
	get := &s3.GetObjectInput{Bucket: bucket, Key: aws.String("in/a b+ü"), IfNoneMatch: put.ETag, ChecksumMode: types.ChecksumModeEnabled}
	_, err = client.GetObject(background, get)
	var api smithy.APIError
	holds("what is the same is not sent", errors.As(err, &api) && api.ErrorCode() == "NotModified")
	get.IfNoneMatch = nil
	got, err := client.GetObject(background, get)
	must(err)
	text, err := io.ReadAll(got.Body)
	must(err)
	holds("a small object", string(text) == "small")
	_, err = client.GetObject(background, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("none")})
	var missing *types.NoSuchKey
	holds("a key that is not there", errors.As(err, &missing))

	url, err := s3.NewPresignClient(client).PresignGetObject(background, get)
	must(err)
	request, err := http.NewRequest("GET", url.URL, nil)
	must(err)
	request.Header = url.SignedHeader
	answer, err := http.DefaultClient.Do(request)
	must(err)
	text, err = io.ReadAll(answer.Body)
	must(err)
	holds("a presigned URL", answer.StatusCode == 200 && string(text) == "small")

	var keys []types.ObjectIdentifier
	pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: 1})
	for pages.HasMorePages() {
		page, err := pages.NextPage(background)
		must(err)
		for _, object := range page.Contents {
			keys = append(keys, types.ObjectIdentifier{Key: object.Key})
		}
	}
	holds("both keys are listed", len(keys) == 2)
	gone, err := client.DeleteObjects(background, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: keys}})
	must(err)
	holds("both are deleted", len(gone.Deleted) == 2 && len(gone.Errors) == 0)
	_, err = client.DeleteBucket(background, &s3.DeleteBucketInput{Bucket: bucket})
	must(err)
	fmt.Println("done")
}
