// Works, key disabled, key enabled: the three steps of examples/clients/README.md with the AWS SDK for Go v2.
//
// Endpoint, region and credentials come from the SDK's own environment variables; the key from KEY_ID. Nothing here knows Keystead.
// With --wait it leaves it to somebody else to disable and enable the key: a workload should not have the right.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

var (
	encryptionContext = map[string]string{"app": "orders", "purpose": "example"}
	message           = []byte("the card number of order 1001")
	input             = bufio.NewReader(os.Stdin)
)

func main() {
	log.SetFlags(0)
	if err := run(context.Background(), os.Getenv("KEY_ID")); err != nil {
		log.Fatalf("error: %v", err)
	}
}

func run(ctx context.Context, key string) error {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	caller, err := sts.NewFromConfig(settings).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return err
	}
	fmt.Printf("caller: %s\n", aws.ToString(caller.Arn))

	client := kms.NewFromConfig(settings)
	encrypted, err := client.Encrypt(ctx, &kms.EncryptInput{
		KeyId: &key, Plaintext: message, EncryptionContext: encryptionContext,
	})
	if err != nil {
		return err
	}
	if err := open(ctx, client, encrypted.CiphertextBlob); err != nil {
		return err
	}
	fmt.Printf("works: %d bytes of ciphertext opened\n", len(encrypted.CiphertextBlob))

	if err := refusedWhileDisabled(ctx, client, key, encrypted.CiphertextBlob); err != nil {
		return err
	}
	if err := open(ctx, client, encrypted.CiphertextBlob); err != nil {
		return err
	}
	fmt.Println("key enabled: the old ciphertext opens")
	return nil
}

func refusedWhileDisabled(ctx context.Context, client *kms.Client, key string, ciphertext []byte) (err error) {
	disable := func() error {
		_, err := client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &key})
		return err
	}
	enable := func() error {
		_, err := client.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &key})
		return err
	}
	if err := change("disable", disable); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, change("enable", enable)) }()
	var disabled *types.DisabledException
	switch err := open(ctx, client, ciphertext); {
	case errors.As(err, &disabled):
		fmt.Printf("key disabled: %s: %s\n", disabled.ErrorCode(), disabled.ErrorMessage())
		return nil
	case err != nil:
		return err
	default:
		return errors.New("a disabled key opened the ciphertext")
	}
}

// change disables or enables the key, or waits until somebody has.
func change(what string, call func() error) error {
	if !slices.Contains(os.Args[1:], "--wait") {
		return call()
	}
	fmt.Printf("waiting: %s the key, then press Enter\n", what)
	_, err := input.ReadString('\n')
	return err
}

func open(ctx context.Context, client *kms.Client, ciphertext []byte) error {
	opened, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: ciphertext, EncryptionContext: encryptionContext})
	if err != nil {
		return err
	}
	if !bytes.Equal(opened.Plaintext, message) {
		return errors.New("another plaintext came back")
	}
	return nil
}
